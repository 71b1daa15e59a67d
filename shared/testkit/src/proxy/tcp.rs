//! A proxy of bytes, for any server.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

use super::{Listener, State};
use crate::process::lock;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What a [`TcpProxy`] does wrong. Bytes are counted per direction over all connections, from when it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// Closes the connection that carries the byte after so many; once.
    Cut(Direction, u64),
    /// Closes every connection that carries bytes after so many.
    CutAlways(Direction, u64),
    /// Forwards nothing after so many bytes until the toxics are cleared; the sender soon blocks.
    Stall(Direction, u64),
    /// Goes on reading after so many bytes and forwards nothing of it: the sender believes that all is well.
    Swallow(Direction, u64),
    /// Waits before it forwards what it has read, each time.
    Latency(Direction, Duration),
    /// At most so many bytes per second and connection.
    Rate(Direction, u64),
    /// Closes all connections, and refuses new ones.
    Refuse,
}

#[derive(Debug)]
struct Active {
    toxic: Toxic,
    passed: u64,
}

/// Forwards bytes between clients and a server on 127.0.0.1, and spoils them as told.
#[derive(Debug)]
pub struct TcpProxy {
    listener: Listener,
    active: Arc<Mutex<Vec<Active>>>,
}

impl TcpProxy {
    /// A proxy in front of that port.
    pub fn start(upstream: u16) -> Result<Self> {
        Self::start_where(upstream, TcpListener::bind)
    }

    /// The same, listening on what `bind` makes of its address, such as one of another network.
    pub(crate) fn start_where(
        upstream: u16,
        bind: impl Fn((Ipv4Addr, u16)) -> std::io::Result<TcpListener> + Send + 'static,
    ) -> Result<Self> {
        let active: Arc<Mutex<Vec<Active>>> = Arc::default();
        let shared = Arc::clone(&active);
        let listener = Listener::start(bind, move |client, state| join(&client, upstream, &state, &shared))?;
        Ok(Self { listener, active })
    }

    /// Its own port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listener.port.number()
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Adds a fault.
    pub fn add(&self, toxic: Toxic) {
        lock(&self.active).push(Active { toxic, passed: 0 });
        if toxic == Toxic::Refuse {
            self.listener.refuse(true);
        }
    }

    /// Takes all faults away; what was stalled goes on.
    pub fn clear(&self) {
        let refused = lock(&self.active).drain(..).any(|one| one.toxic == Toxic::Refuse);
        if refused {
            self.listener.refuse(false);
        }
    }

    /// Closes all connections that are open now.
    pub fn cut(&self) {
        self.listener.state.close_all();
    }
}

fn join(client: &TcpStream, upstream: u16, state: &Arc<State>, active: &Arc<Mutex<Vec<Active>>>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)) else {
        client.shutdown(Shutdown::Both).ok();
        return;
    };
    server.set_nodelay(true).ok();
    state.watch(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| pump(client, &server, Direction::Up, state, active));
        pump(&server, client, Direction::Down, state, active);
    });
}

/// What the toxics say of the bytes that were just read.
enum Verdict {
    Forward { bytes: usize, wait: Duration },
    Cut { forward: usize },
    Stall,
    Swallow { forward: usize },
}

fn judge(active: &mut Vec<Active>, direction: Direction, bytes: usize) -> Verdict {
    let mut wait = Duration::ZERO;
    let mut allowed = bytes;
    // The limits first, for what they let through is what the others count.
    let mut verdict: Option<(usize, Toxic)> = None;
    for (index, one) in active.iter().enumerate() {
        match one.toxic {
            Toxic::Latency(of, time) if of == direction => wait += time,
            Toxic::Rate(of, rate) if of == direction => {
                wait += Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            }
            Toxic::Cut(of, after) | Toxic::CutAlways(of, after) | Toxic::Stall(of, after) | Toxic::Swallow(of, after)
                if of == direction =>
            {
                let left = usize::try_from(after.saturating_sub(one.passed)).unwrap_or(usize::MAX);
                if left < allowed || (left == 0 && verdict.is_none()) {
                    allowed = left.min(allowed);
                    verdict = Some((index, one.toxic));
                }
            }
            _ => {}
        }
    }
    for one in active.iter_mut() {
        match one.toxic {
            Toxic::Cut(of, _) | Toxic::CutAlways(of, _) | Toxic::Stall(of, _) | Toxic::Swallow(of, _) if of == direction => {
                one.passed += allowed as u64;
            }
            _ => {}
        }
    }
    match verdict {
        None => Verdict::Forward { bytes, wait },
        Some((index, Toxic::Cut(..))) => {
            active.remove(index);
            Verdict::Cut { forward: allowed }
        }
        Some((_, Toxic::CutAlways(..))) => Verdict::Cut { forward: allowed },
        Some((_, Toxic::Swallow(..))) => Verdict::Swallow { forward: allowed },
        // What stands before the limit goes out now, what is behind it waits.
        Some(_) if allowed > 0 => Verdict::Forward { bytes: allowed, wait },
        Some(_) => Verdict::Stall,
    }
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, direction: Direction, state: &State, active: &Mutex<Vec<Active>>) {
    let mut buffer = vec![0; 16 * 1024];
    'reading: while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let verdict = judge(&mut lock(active), direction, rest.len());
            match verdict {
                Verdict::Forward { bytes, wait } => {
                    std::thread::sleep(wait);
                    if to.write_all(&rest[..bytes]).is_err() {
                        break 'reading;
                    }
                    rest = &rest[bytes..];
                }
                Verdict::Cut { forward } => {
                    to.write_all(&rest[..forward]).ok();
                    from.shutdown(Shutdown::Both).ok();
                    to.shutdown(Shutdown::Both).ok();
                    return;
                }
                Verdict::Swallow { forward } => {
                    to.write_all(&rest[..forward]).ok();
                    rest = &[];
                }
                Verdict::Stall => {
                    if state.is_stopped() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
    // The end of one direction, passed on; the other may still speak.
    to.shutdown(Shutdown::Write).ok();
}

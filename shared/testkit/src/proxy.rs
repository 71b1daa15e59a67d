//! Proxies that spoil the traffic to a server: [`TcpProxy`] knows bytes only, [`HttpProxy`] knows requests.
//!
//! Both work on threads of their own and block, so that back-pressure is the kernel's and any test can use them.

mod aged;
mod http;
mod rule;
mod serve;
mod tcp;
mod text;
mod wire;

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

use crate::process::{Port, lock};
pub use aged::age;
pub use http::{HttpProxy, Seen};
pub use rule::{Action, Answer, Etag, Op, Request, Rule, RuleHandle};
pub use tcp::{Direction, TcpProxy, Toxic};
pub(crate) use text::TextServer;

/// Accepts connections on a port and gives each a thread; closes all of them when it is dropped.
#[derive(Debug)]
struct Listener {
    port: Port,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stopped: AtomicBool,
    refusing: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl State {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::SeqCst)
    }

    /// Remembers a connection, so that it can be closed from outside.
    fn watch(&self, stream: &TcpStream) {
        if let Ok(copy) = stream.try_clone() {
            let mut open = lock(&self.open);
            open.retain(|one| one.peer_addr().is_ok());
            open.push(copy);
        }
    }

    fn close_all(&self) {
        for stream in lock(&self.open).drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Listener {
    fn start(bind: impl Bind, serve: impl Fn(TcpStream, Arc<State>) + Send + Sync + 'static) -> Result<Self> {
        let port = Port::claim()?;
        let state = Arc::new(State::default());
        let (number, shared) = (port.number(), Arc::clone(&state));
        let first = listen(&bind, number)?;
        std::thread::spawn(move || accept((number, bind), first, &shared, &Arc::new(serve)));
        Ok(Self { port, state })
    }

    fn refuse(&self, refuse: bool) {
        self.state.refusing.store(refuse, Ordering::SeqCst);
        self.state.close_all();
        // Until the listener has really gone or come back.
        let begun = std::time::Instant::now();
        while crate::process::accepts(self.port.number()) == refuse && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.state.close_all();
    }
}

/// What makes a listener of an address.
trait Bind: Fn((Ipv4Addr, u16)) -> std::io::Result<TcpListener> + Send + 'static {}

impl<F: Fn((Ipv4Addr, u16)) -> std::io::Result<TcpListener> + Send + 'static> Bind for F {}

fn listen(bind: &impl Bind, port: u16) -> std::io::Result<TcpListener> {
    let listener = bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept(
    (port, bind): (u16, impl Bind),
    first: TcpListener,
    state: &Arc<State>,
    serve: &Arc<impl Fn(TcpStream, Arc<State>) + Send + Sync + 'static>,
) {
    let mut listener = Some(first);
    while !state.is_stopped() {
        if state.is_refusing() {
            listener = None;
        } else if listener.is_none() {
            listener = listen(&bind, port).ok();
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => {
                // A connection inherits nothing from a listener that does not block, on Linux; said for clarity.
                stream.set_nonblocking(false).ok();
                stream.set_nodelay(true).ok();
                state.watch(&stream);
                let (state, serve) = (Arc::clone(state), Arc::clone(serve));
                std::thread::spawn(move || serve(stream, state));
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

//! A server that answers every request with the same text.

use std::io::{BufReader, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use anyhow::Result;

use super::{Listener, wire};

/// Says the same to everybody, as an exporter whose numbers stand still.
#[derive(Debug)]
pub(crate) struct TextServer {
    listener: Listener,
}

impl TextServer {
    pub(crate) fn start(text: &str) -> Result<Self> {
        let text: Arc<str> = text.into();
        let listener = Listener::start(TcpListener::bind, move |client, _| {
            let mut reader = BufReader::new(&client);
            if matches!(wire::read_head(&mut reader), Ok(Some(_))) {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    text.len()
                );
                // A client that went away has lost interest.
                (&client).write_all([head.as_bytes(), text.as_bytes()].concat().as_slice()).ok();
            }
            client.shutdown(Shutdown::Both).ok();
        })?;
        Ok(Self { listener })
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.port.number()
    }
}

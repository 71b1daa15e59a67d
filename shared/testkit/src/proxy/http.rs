//! A proxy of HTTP/1.1 requests, for the gateway. Heads and bodies pass as they are, so signatures stay valid.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::Result;

use super::rule::{Action, Op, Request, Rule, RuleHandle};
use super::{Listener, serve};
use crate::process::lock;

/// A request that came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its head.
    pub request: Request,
    /// How many bytes of its body have been read.
    pub body_bytes: u64,
    /// The status that the client was sent; none where it got no answer (yet).
    pub status: Option<u16>,
    /// Whether the server was asked.
    pub forwarded: bool,
}

impl Seen {
    /// What it asked for.
    #[must_use]
    pub fn op(&self) -> Op {
        self.request.op()
    }
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<VecDeque<Seen>>,
}

impl Shared {
    /// The action of the first rule that acts on the request; all rules count it.
    pub(super) fn decide(&self, request: &Request) -> Option<Action> {
        let rules = lock(&self.rules);
        let acting: Vec<&Rule> = rules.iter().filter(|rule| rule.acts_on(request)).collect();
        acting.first().map(|rule| rule.action.clone())
    }

    /// Notes a request and gives its number.
    pub(super) fn note(&self, request: Request) -> usize {
        let mut seen = lock(&self.seen);
        seen.push_back(Seen { request, body_bytes: 0, status: None, forwarded: false });
        seen.len() - 1
    }

    pub(super) fn amend(&self, number: usize, change: impl FnOnce(&mut Seen)) {
        if let Some(one) = lock(&self.seen).get_mut(number) {
            change(one);
        }
    }
}

/// Forwards HTTP/1.1 requests to a server on 127.0.0.1, acts on them by [`Rule`]s, and remembers them.
#[derive(Debug)]
pub struct HttpProxy {
    listener: Listener,
    shared: Arc<Shared>,
}

impl HttpProxy {
    /// A proxy in front of that port.
    pub fn start(upstream: u16) -> Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let own = Arc::clone(&shared);
        let listener =
            Listener::start(std::net::TcpListener::bind, move |client, state| serve::connection(client, upstream, &state, &own))?;
        Ok(Self { listener, shared })
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

    /// Adds a rule behind those there are; the first that acts on a request wins.
    pub fn add(&self, rule: Rule) -> RuleHandle {
        let handle = RuleHandle(Arc::clone(&rule.matched));
        lock(&self.shared.rules).push(rule);
        handle
    }

    /// Takes all rules away. What stalls stays so: its connection is lost.
    pub fn clear(&self) {
        lock(&self.shared.rules).clear();
    }

    /// The requests up to now, in the order in which they began.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.shared.seen).iter().cloned().collect()
    }

    /// How many requests of that kind there were.
    #[must_use]
    pub fn count(&self, op: Op) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| seen.op() == op).count()
    }

    /// Refuses connections from now on, or takes them again; closes those that are open.
    pub fn refuse(&self, refuse: bool) {
        self.listener.refuse(refuse);
    }
}

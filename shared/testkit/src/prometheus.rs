//! A Prometheus that has scraped what a job left for node_exporter, and answers queries about it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::process::{Home, Port, Server, Signal, clean};
use crate::proxy::TextServer;

/// A running server; gone when it is dropped, or with this process.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    port: Port,
    home: Home,
    _scraped: TextServer,
}

impl Prometheus {
    /// Starts one that scrapes that text every second, and waits until it has it.
    ///
    /// # Errors
    /// When it does not start, or cannot read the text.
    pub fn of(text: &str) -> Result<Self> {
        let (home, port, scraped) = (Home::new("prometheus")?, Port::claim()?, TextServer::start(text)?);
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: node\n    static_configs: [{{ targets: ['127.0.0.1:{}'] }}]\n",
            scraped.port()
        );
        std::fs::write(home.join("prometheus.yml"), config)?;
        let mut command = Command::new("prometheus");
        clean(&mut command);
        command.arg(format!("--config.file={}", home.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", home.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{}", port.number()));
        let server = Server::spawn(&home, "prometheus", &mut command, Signal::KILL)?;
        let mut started = Self { server, port, home, _scraped: scraped };
        let number = started.port.number();
        started.server.wait_ready(|| query(number, "up").is_ok_and(|series| series.iter().any(|one| one["value"][1] == "1")))?;
        Ok(started)
    }

    /// The series that an instant query answers now, each with `metric` and `value`.
    ///
    /// # Errors
    /// When it is no query, or the server does not answer.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        query(self.port.number(), expression)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.server.end(&self.home);
    }
}

fn query(port: u16, expression: &str) -> Result<Vec<Value>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    // HTTP/1.0: the answer ends with the connection, and is in no chunks.
    let path = format!("/api/v1/query?query={}", utf8_percent_encode(expression, NON_ALPHANUMERIC));
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let body: Value = serde_json::from_str(body).with_context(|| body.to_owned())?;
    ensure!(body["status"] == "success", "failed to query {expression}: {body}");
    body["data"]["result"].as_array().cloned().with_context(|| format!("not a vector: {body}"))
}

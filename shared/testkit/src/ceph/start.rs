//! The recipe of a one-node cluster: one monitor, one object store daemon in memory, one gateway; no manager, which
//! only watches.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};

use super::{Gateway, User};
use crate::process::{Home, Port, Server, Signal, clean, output};

pub(super) fn start(settings: &[&str]) -> Result<Gateway> {
    let home = Home::new("ceph")?;
    let (port, mon_port) = (Port::claim()?, Port::claim()?);
    let fsid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let fsid = fsid.trim();
    for part in ["mon", "osd", "rgw", "run"] {
        std::fs::create_dir(home.join(part))?;
    }
    std::fs::write(home.join("ceph.conf"), configuration(home.path(), fsid, mon_port.number(), port.number(), settings))?;
    let started = Gateway { port, _mon_port: mon_port, gateway: Mutex::new(None), cluster: Mutex::new(Vec::new()), home };
    // Built first, so that dropping it ends what runs when a later step fails.
    let (home, mut cluster) = (&started.home, crate::process::lock(&started.cluster));

    let map = home.join("monmap");
    let address = format!("[v2:127.0.0.1:{}]", started._mon_port.number());
    output(ceph(home, "monmaptool").args(["--create", "--fsid", fsid, "--addv", "a", &address]).arg(&map))?;
    output(ceph(home, "ceph-mon").args(["--mkfs", "-i", "a", "--monmap"]).arg(&map))?;
    cluster.push(Server::spawn(home, "mon", ceph(home, "ceph-mon").args(["-i", "a", "-f"]), Signal::KILL)?);
    let id = output(ceph(home, "ceph").args(["--connect-timeout", "60", "osd", "create", fsid]))?;
    ensure!(id.trim() == "0", "failed to register the object store daemon: it became number {}", id.trim());
    output(ceph(home, "ceph-osd").args(["-i", "0", "--mkfs", "--osd-uuid", fsid]))?;
    cluster.push(Server::spawn(home, "osd", ceph(home, "ceph-osd").args(["-i", "0", "-f"]), Signal::KILL)?);
    drop(cluster);
    *crate::process::lock(&started.gateway) = Some(gateway(home, started.port.number())?);
    make_users(home)?;
    Ok(started)
}

/// Starts the gateway on a cluster that runs.
pub(super) fn gateway(home: &Home, port: u16) -> Result<Server> {
    let mut server = Server::spawn(home, "radosgw", ceph(home, "radosgw").args(["-n", "client.rgw", "-f"]), Signal::KILL)?;
    let ready = server.wait_ready(|| answers(port).unwrap_or(false));
    if ready.is_err() {
        server.end(home);
    }
    ready.map(|()| server)
}

/// Whether the gateway lists the (no) buckets of an anonymous visitor.
fn answers(port: u16) -> std::io::Result<bool> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut start = [0_u8; 12];
    stream.read_exact(&mut start)?;
    Ok(&start == b"HTTP/1.1 200")
}

/// All at once: each of these commands joins the cluster as a client of its own, which takes a while.
fn make_users(home: &Home) -> Result<()> {
    let mut running = Vec::new();
    for user in User::ALL {
        let key = user.key();
        let mut command = ceph(home, "radosgw-admin");
        command.args(["-n", "client.rgw", "user", "create", "--uid", user.name(), "--display-name", user.name()]);
        command.args(["--access-key", &key.access, "--secret-key", &key.secret]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        running.push((user, command.spawn().context("failed to run radosgw-admin")?));
    }
    for (user, child) in running {
        let done = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "failed to make the user {}: {}", user.name(), said.trim());
    }
    Ok(())
}

fn ceph(home: &Home, program: &str) -> Command {
    let mut command = Command::new(program);
    clean(&mut command);
    command.env("CEPH_CONF", home.join("ceph.conf")).env_remove("CEPH_ARGS").current_dir("/");
    command
}

fn configuration(home: &Path, fsid: &str, mon_port: u16, port: u16, settings: &[&str]) -> String {
    let home = home.display();
    let settings = settings.join("\n");
    // Encryption between the daemons needs authentication, which there is none of; and the gateway, alone among
    // them, insists on it unless told otherwise. The short paxos intervals bring the start from ten seconds to one.
    format!(
        "[global]
fsid = {fsid}
mon initial members = a
mon host = [v2:127.0.0.1:{mon_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
run dir = {home}/run
admin socket = {home}/run/$name.$pid.asok
log file = {home}/$name.log
crash dir = {home}/run
keyring = {home}/keyring
pid file =
debug ms = 0/0
debug osd = 0/0
debug mon = 0/0
debug paxos = 0/0
debug rocksdb = 0/0
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1
mon data avail crit = 0
mon data avail warn = 0
mon max pg per osd = 1000
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 32G
osd heartbeat interval = 1
[mon.a]
mon data = {home}/mon
[osd.0]
osd data = {home}/osd
[client.rgw]
rgw data = {home}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 64
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw gc processor max time = 60
{settings}
"
    )
}

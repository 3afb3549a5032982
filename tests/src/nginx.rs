//! nginx with the module.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::process::{Process, children_of, read_log};
use crate::tls::Certificate;
use crate::{builds, migrated, ports, sidecar, wait};

/// Which nginx.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nginx {
    /// The distribution's.
    Installed,
    /// The one built from crate nginx-src.
    Vendored,
}

/// Where an nginx listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For browsers, in clear.
    pub public: SocketAddr,
    /// For browsers, TLS with HTTP/2 on.
    pub public_tls: SocketAddr,
    /// For backends, in clear.
    pub internal: SocketAddr,
    /// For backends, TLS with HTTP/2 on.
    pub internal_tls: SocketAddr,
}

impl Addresses {
    fn free() -> Self {
        Self {
            public: ports::free(),
            public_tls: ports::free(),
            internal: ports::free(),
            internal_tls: ports::free(),
        }
    }
}

/// What a test may want in its nginx.conf.
#[derive(Clone, Debug)]
pub struct Conf {
    /// Worker processes.
    pub workers: u32,
    /// Lines in front of the http block.
    pub main: String,
    /// Connections a worker may have.
    pub connections: u32,
    /// Parameters of the public listener, e.g. ` backlog=4096`.
    pub listen: String,
    /// Lines for the http block.
    pub http: String,
    /// Lines for the locations with `bx_push sub`.
    pub sub: String,
    /// Lines for the locations with `bx_push pub`.
    pub publishing: String,
    /// Servers and whatever else goes to the end of the http block.
    pub servers: String,
}

impl Default for Conf {
    fn default() -> Self {
        let empty = String::new;
        Self {
            workers: 1,
            main: empty(),
            connections: 8192,
            listen: empty(),
            http: empty(),
            sub: empty(),
            publishing: empty(),
            servers: empty(),
        }
    }
}

/// A running nginx.
pub struct Server {
    /// Where it listens.
    pub addresses: Addresses,
    process: Process,
    folder: PathBuf,
    nginx: Nginx,
    conf: Conf,
    certificate: Certificate,
}

impl Server {
    /// Starts one in `folder`.
    pub fn start(folder: &Path, nginx: Nginx, conf: Conf) -> io::Result<Self> {
        let certificate = Certificate::make(folder)?;
        for _ in 0..5 {
            let addresses = Addresses::free();
            write_conf(folder, nginx, &conf, addresses, &certificate)?;
            let mut process =
                Process::spawn(&mut command(nginx, folder), &folder.join("nginx.out"))?;
            wait::until_blocking("nginx is up or has ended", wait::SOON, || {
                process.ended().is_some() || is_up(folder, addresses)
            });
            if process.ended().is_none() {
                let (folder, nginx) = (folder.to_owned(), nginx);
                return Ok(Self { addresses, process, folder, nginx, conf, certificate });
            }
            let log = process.output() + &error_log(folder);
            if !log.contains("Address already in use") {
                return Err(io::Error::other(format!("nginx does not start: {log}")));
            }
            // Somebody was faster to one of the ports.
            fs::remove_file(folder.join("error.log"))?;
            fs::remove_file(folder.join("nginx.out"))?;
        }
        Err(io::Error::other("nginx found its ports taken again and again"))
    }

    /// The certificate of its TLS listeners.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The master process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The worker processes.
    pub fn workers(&self) -> Vec<u32> {
        children_of(self.process.pid())
    }

    /// Changes the configuration and has nginx take it up. Returns when new workers run.
    pub async fn reload(&mut self, change: impl FnOnce(&mut Conf)) -> io::Result<()> {
        change(&mut self.conf);
        write_conf(&self.folder, self.nginx, &self.conf, self.addresses, &self.certificate)?;
        let before = self.workers();
        self.process.signal(Signal::SIGHUP);
        let (process, count) = (&self.process, self.conf.workers as usize);
        wait::until("new workers run", wait::SOON, || {
            let now = children_of(process.pid());
            now.iter().filter(|pid| !before.contains(pid)).count() >= count
        })
        .await;
        Ok(())
    }

    /// What it has logged.
    pub fn error_log(&self) -> String {
        error_log(&self.folder)
    }

    /// Ends it as an operator would, and returns what must not stand in its log.
    pub fn stop(&mut self) -> Vec<String> {
        if self.process.ended().is_none() {
            self.process.end_by(Signal::SIGTERM);
        }
        complaints(&(self.error_log() + &self.process.output()))
    }
}

/// The lines that no test may cause.
pub fn complaints(log: &str) -> Vec<String> {
    const BAD: [&str; 6] = [
        "[alert]",
        "[emerg]",
        "exited on signal",
        "exited with fatal code",
        "open socket",
        "panic",
    ];
    let bad = |line: &&str| BAD.iter().any(|mark| line.contains(mark));
    log.lines().filter(bad).map(str::to_owned).collect()
}

fn is_up(folder: &Path, addresses: Addresses) -> bool {
    folder.join("nginx.pid").exists() && std::net::TcpStream::connect(addresses.internal).is_ok()
}

fn error_log(folder: &Path) -> String {
    read_log(&folder.join("error.log"))
}

fn command(nginx: Nginx, folder: &Path) -> Command {
    let mut command = Command::new(builds::nginx(nginx));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command.arg("-e").arg(folder.join("error.log"));
    command
}

fn write_conf(
    folder: &Path,
    nginx: Nginx,
    conf: &Conf,
    addresses: Addresses,
    certificate: &Certificate,
) -> io::Result<()> {
    let Conf { workers, connections, listen: backlog, main, http, sub, publishing, servers } = conf;
    let Addresses { public, public_tls, internal, internal_tls } = addresses;
    let (path, sidecar) = (folder.display(), sidecar::socket(folder));
    // 1.25.1 took HTTP/2 out of the listen directive.
    let (listen, server) = match nginx {
        Nginx::Installed => (" http2", ""),
        Nginx::Vendored => ("", "http2 on;"),
    };
    let mut text = preamble(nginx, folder, *workers, *connections);
    write!(
        text,
        "{main}
http {{
    bx_push_sidecar unix:{};
    access_log off;
    ssl_certificate {};
    ssl_certificate_key {};
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    {http}
    server {{
        listen {public}{backlog};
        listen {public_tls} ssl{listen};
        {server}
        location /bitrix/subws/ {{ bx_push sub; {sub} }}
        location /bitrix/sub/ {{ bx_push sub; {sub} }}
        location /bitrix/rest/ {{ bx_push rest; }}
    }}
    server {{
        listen {internal};
        listen {internal_tls} ssl{listen};
        {server}
        location /bitrix/pub/ {{ bx_push pub; {publishing} }}
        location /server-stat/ {{ bx_push stat; }}
        location /metrics/ {{ bx_push metrics; }}
        location /status/ {{ bx_push status; }}
    }}
    {servers}
}}\n",
        sidecar.display(),
        certificate.file.display(),
        certificate.key_file.display(),
    )
    .expect("a string takes everything");
    if migrated::everything() {
        text = migrated::there_and_back(folder, nginx, &text)?;
    }
    fs::write(folder.join("nginx.conf"), text)
}

/// What stands in front of the http block.
fn preamble(nginx: Nginx, folder: &Path, workers: u32, connections: u32) -> String {
    let (module, path) = (builds::module(nginx), folder.display());
    // Root's workers would run as a user who may not enter a temporary folder.
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "load_module {};
{user}
daemon off;
worker_processes {workers};
pid {path}/nginx.pid;
error_log {path}/error.log info;
events {{ worker_connections {connections}; }}
",
        module.display()
    )
}

/// Runs `nginx -t` on a configuration with this http block, as the tests of directives want it.
pub fn test_conf(nginx: Nginx, folder: &Path, http: &str) -> io::Result<Output> {
    let text = preamble(nginx, folder, 1, 1024) + &format!("http {{\n{http}\n}}\n");
    fs::write(folder.join("nginx.conf"), text)?;
    test_file(nginx, folder, &folder.join("nginx.conf"))
}

/// Runs `nginx -t` on a file.
pub fn test_file(nginx: Nginx, prefix: &Path, file: &Path) -> io::Result<Output> {
    let mut command = Command::new(builds::nginx(nginx));
    command.args(["-t", "-e", "stderr", "-p"]).arg(prefix).arg("-c").arg(file);
    command.output()
}

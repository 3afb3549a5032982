//! A Redis of the test's own, on a Unix socket in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Commands, Connection, FromRedisValue};
use tempfile::TempDir;

pub struct RedisServer {
    folder: TempDir,
    child: Option<Child>,
}

impl RedisServer {
    pub fn start() -> Self {
        let mut server = Self { folder: TempDir::new().expect("a folder"), child: None };
        server.launch();
        server
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts the process, with what an earlier one saved.
    pub fn launch(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        let started = Instant::now();
        while self.try_connect().is_none() {
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The folder that it saves to.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the process; `save`: what it holds comes back with [`Self::launch`].
    pub fn stop(&mut self, save: bool) {
        if let Some(mut child) = self.child.take() {
            if save {
                redis::cmd("SAVE").exec(&mut self.connect()).expect("saved");
            }
            child.kill().expect("killed");
            child.wait().expect("ended");
            // The dead process's file would be dialled in vain; a missing one is as good.
            let _ = std::fs::remove_file(self.socket());
        }
    }

    fn try_connect(&self) -> Option<Connection> {
        let client = redis::Client::open(self.url()).ok()?;
        let mut connection = client.get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
        Some(connection)
    }

    pub fn connect(&self) -> Connection {
        self.try_connect().expect("redis-server answers")
    }

    /// One command, by its words.
    pub fn query<T: FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).expect("a verb"));
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut self.connect()).expect("an answer")
    }

    pub fn delete(&self, key: &[u8]) {
        let gone: i64 = self.connect().del(key).expect("deleted");
        assert_eq!(gone, 1);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop(false);
    }
}

//! The command connection: one, pipelined, dialled again when it breaks. Publishes go over the
//! connection of the announcements instead while there is one: Redis then writes what it announces
//! and what it answers together, and both are read at once.

use std::cell::RefCell;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, Script as Hashed, ServerErrorKind, Value};
use tokio::time::Instant;

use super::condition::Watch;
use super::dialer::{Dialer, Dialled};
use crate::store::StoreError;

/// After a failed dial everybody gets its error for this long, instead of dialling as well.
const DIAL_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Commands {
    dialer: Dialer,
    timeout: Duration,
    watch: Rc<Watch>,
    state: RefCell<State>,
    dialling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<Dialled>,
    /// Tells whose connection broke.
    generation: u64,
    failed: Option<(Instant, StoreError)>,
    /// The connection of the announcements.
    lent: Option<Dialled>,
    /// Tells which one that is.
    loans: u64,
}

/// One of the connections at one time: who finds it broken takes none away that came later.
#[derive(Clone, Copy)]
enum Line {
    Own(u64),
    Lent(u64),
}

impl Commands {
    /// Does not dial yet. `timeout`: of a dial, and of a command from sending to answer.
    pub fn new(dialer: Dialer, timeout: Duration, watch: Rc<Watch>) -> Self {
        let state = RefCell::default();
        Self { dialer, timeout, watch, state, dialling: tokio::sync::Mutex::new(()) }
    }

    /// Publishes may go over this connection until it breaks or is taken back.
    pub fn lend(&self, connection: &Dialled) {
        let mut state = self.state.borrow_mut();
        state.loans += 1;
        state.lent = Some(connection.clone());
    }

    /// Ends that.
    pub fn take_back(&self) {
        self.state.borrow_mut().lent = None;
    }

    /// Sends a command.
    pub async fn run(&self, command: &Cmd) -> Result<Value, StoreError> {
        let (own, line) = self.connection().await?;
        self.attempt(own, line, command).await.map_err(Failure::into_error)
    }

    /// Runs a script by its hash, and with its text where Redis does not have it (yet, or any more).
    pub async fn script(&self, script: &LuaScript, args: &ScriptArgs) -> Result<Value, StoreError> {
        let (own, line) = self.connection().await?;
        self.script_on(own, line, script, args).await
    }

    /// The same over the connection that is lent, if one is.
    pub async fn script_beside_announcements(
        &self,
        script: &LuaScript,
        args: &ScriptArgs,
    ) -> Result<Value, StoreError> {
        match self.lent() {
            Some((lent, line)) => self.script_on(lent, line, script, args).await,
            None => self.script(script, args).await,
        }
    }

    async fn script_on(
        &self,
        dialled: Dialled,
        line: Line,
        script: &LuaScript,
        args: &ScriptArgs,
    ) -> Result<Value, StoreError> {
        let hashed = args.command("EVALSHA", &script.hash);
        let answer = match self.attempt(dialled.clone(), line, &hashed).await {
            Err(Failure::Command(error))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                self.attempt(dialled, line, &args.command("EVAL", &script.text)).await
            }
            answer => answer,
        };
        answer.map_err(Failure::into_error)
    }

    async fn attempt(
        &self,
        mut dialled: Dialled,
        line: Line,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        let began = Instant::now();
        let (mut sent, mut polls) = (pin!(dialled.connection.send_packed_command(command)), 0);
        let answer = poll_fn(|context| {
            polls += 1;
            sent.as_mut().poll(context)
        });
        let answer = answer.await.and_then(Value::extract_error);
        self.watch.took(began.elapsed());
        match (&answer, line) {
            // The announcements' trouble, and told as such.
            (Err(error), Line::Lent(_)) if breaks(error) => {}
            (answer, _) => {
                let ill = answer.as_ref().err().filter(|error| is_ill(error));
                self.watch.command(ill.map(ToString::to_string));
            }
        }
        answer.map_err(|error| {
            if breaks(&error) {
                self.give_up(line);
                // An answer takes another task's turn. Without it the command went nowhere: the
                // connection had ended before.
                if polls == 1 {
                    return Failure::Unsent(StoreError::Unavailable(format!("redis: {error}")));
                }
            }
            Failure::Command(error)
        })
    }

    fn give_up(&self, line: Line) {
        let mut state = self.state.borrow_mut();
        match line {
            Line::Own(generation) if state.generation == generation => state.connection = None,
            Line::Lent(loan) if state.loans == loan => state.lent = None,
            Line::Own(_) | Line::Lent(_) => {}
        }
    }

    fn lent(&self) -> Option<(Dialled, Line)> {
        let state = self.state.borrow();
        Some((state.lent.clone()?, Line::Lent(state.loans)))
    }

    async fn connection(&self) -> Result<(Dialled, Line), StoreError> {
        if let Some(open) = self.open() {
            return open;
        }
        let _only_one = self.dialling.lock().await;
        if let Some(open) = self.open() {
            return open;
        }
        let dialled = self.dialer.commands(self.timeout).await;
        let mut state = self.state.borrow_mut();
        state.generation += 1;
        match dialled {
            Ok(connection) => {
                state.connection = Some(connection.clone());
                state.failed = None;
                Ok((connection, Line::Own(state.generation)))
            }
            Err(error) => {
                self.watch.command(Some(error.to_string()));
                let error = StoreError::Unavailable(format!("redis: {error}"));
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn open(&self) -> Option<Result<(Dialled, Line), StoreError>> {
        let state = self.state.borrow();
        if let Some(connection) = &state.connection {
            return Some(Ok((connection.clone(), Line::Own(state.generation))));
        }
        let (at, error) = state.failed.as_ref()?;
        (at.elapsed() < DIAL_PAUSE).then(|| Err(error.clone()))
    }
}

/// A script with its hash.
#[derive(Clone)]
pub struct LuaScript {
    text: Rc<str>,
    hash: String,
}

impl LuaScript {
    /// Hashes the text.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), hash: Hashed::new(text).get_hash().to_owned() }
    }
}

enum Failure {
    Unsent(StoreError),
    Command(RedisError),
}

impl Failure {
    fn into_error(self) -> StoreError {
        match self {
            Self::Unsent(error) => error,
            Self::Command(error) => classify(&error),
        }
    }
}

/// Whether the connection is of no more use. After a timeout too: whatever made one command hang
/// (a silent peer, a failed-over address) is likelier to go away with a new connection.
fn breaks(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly))
}

/// Whether the error is a sign that Redis, or the way there, does not carry out commands. A Redis
/// that takes no writes answers; that is another part's trouble.
fn is_ill(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown};
    match error.kind() {
        ErrorKind::Server(kind) => matches!(kind, BusyLoading | ClusterDown | MasterDown),
        ErrorKind::AuthenticationFailed => true,
        // A script that does not end: whatever is asked is answered with this.
        ErrorKind::Extension => error.code() == Some("BUSY"),
        _ => breaks(error),
    }
}

/// Nearly everything may pass by itself or be set right by an operator: loading, a failover, a full
/// disk or memory, a long script, a changed password. What stays is a key of the wrong type or an
/// answer that makes no sense. A server's error says that nothing was done, an end of the connection
/// says nothing.
pub fn classify(error: &RedisError) -> StoreError {
    let text = format!("redis: {error}");
    if !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) && breaks(error) {
        return StoreError::Unknown(text);
    }
    let lasting = match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            !text.contains("max number of clients") && !text.contains("killed")
        }
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => true,
        ErrorKind::Extension => error.code() == Some("WRONGTYPE"),
        _ => false,
    };
    if lasting { StoreError::Refused(text) } else { StoreError::Unavailable(text) }
}

/// Keys and arguments of a script, written once and sent once or twice.
#[derive(Clone, Default)]
pub struct ScriptArgs {
    keys: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ScriptArgs {
    /// With keys, in front of the arguments.
    pub fn with_keys(keys: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut args = Self::default();
        for key in keys {
            args.push(key);
            args.keys += 1;
        }
        args
    }

    /// Adds an argument.
    pub fn push(&mut self, arg: impl AsRef<[u8]>) {
        self.push_joined(&[arg.as_ref()]);
    }

    /// Adds parts as one argument.
    pub fn push_joined(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len());
    }

    /// Adds what is displayed.
    pub fn push_shown(&mut self, arg: impl Display) {
        // Memory takes everything.
        let _ = write!(self.bytes, "{arg}");
        self.ends.push(self.bytes.len());
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let size = self.bytes.len() + script.len() + 16;
        let mut command = Cmd::with_capacity(self.ends.len() + 3, size);
        command.arg(verb).arg(script).arg(self.keys);
        let mut begin = 0;
        for end in &self.ends {
            command.arg(&self.bytes[begin..*end]);
            begin = *end;
        }
        command
    }
}

//! A worker process: the real engine, called as the nginx module calls it.

use std::rc::Rc;
use std::time::Duration;

use push_protocol::Mid;
use push_protocol::channels::ChannelList;
use push_protocol::request::Publication;
use push_worker::{Conn, Engine, Format, Request, Response, Settings, SettingsId, Subscriber};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet, yield_now};
use tokio::time::{Instant, sleep_until};

use crate::host::{Deferred, SimHost, Socket, Waiting};
use crate::ledger::Visit;
use crate::pipe::{End, Reader, Writer};
use crate::setup::Sabotage;
use crate::sidecar::Sidecar;
use crate::world::World;

/// Between pings; a peer that does not answer is cut at the second.
const PING_INTERVAL: u64 = 15_000;
/// How long a reload takes to send everybody away.
const SPREAD: u64 = 500;

/// Who wants to listen.
pub struct Hello {
    /// Its channels.
    pub channels: ChannelList,
    /// Where it left off.
    pub mid: Option<Mid>,
    /// How it wants messages.
    pub format: Format,
    /// Who that is, and which of its connections.
    pub visit: Visit,
}

/// What reaches a worker.
pub enum Event {
    /// A WebSocket handshake.
    Handshake(End, Hello),
    /// A long poll.
    Poll(usize, Hello, oneshot::Sender<Response>),
    /// A publish.
    Publish(usize, Vec<Publication>, oneshot::Sender<Response>),
    /// Whoever made a request has hung up.
    HungUp(usize),
    /// From a WebSocket.
    Bytes(usize, Vec<u8>),
    /// A WebSocket has ended.
    Ended(usize),
    /// A WebSocket has room again.
    Writable(usize),
    /// The link is connected, or nobody listens.
    Link(Option<End>),
    /// From the link with this number.
    LinkBytes(usize, Vec<u8>),
    /// That link has ended.
    LinkEnded(usize),
    /// It has room again.
    LinkWritable,
    /// The process is to leave (reload).
    Leave,
    /// What is still under way: requests and sessions?
    Busy(oneshot::Sender<usize>),
}

/// A worker, from outside.
#[derive(Clone)]
pub struct Worker {
    /// Its number in this run.
    pub name: usize,
    inbox: mpsc::UnboundedSender<Event>,
    task: AbortHandle,
}

impl Worker {
    /// Starts a process.
    pub fn start(world: &Rc<World>, sidecar: &Rc<Sidecar>, settings: &Settings) -> Self {
        let name = world.name();
        let (inbox, events) = mpsc::unbounded_channel();
        let instance = world.rng().bits();
        let mut engine = Engine::new(instance, name as u32, "simulated");
        let settings = engine.add_settings(Settings {
            ping_interval: PING_INTERVAL,
            max_queue: world.setup.session_queue,
            ..settings.clone()
        });
        let process = Process {
            engine,
            host: SimHost::new(world, name),
            settings,
            sidecar: Rc::clone(sidecar),
            inbox: inbox.clone(),
            link: None,
            leaving: false,
            in_order: false,
            name,
        };
        world.note(format_args!("worker {name} starts"));
        let tasks = LocalSet::new();
        let main = async move { tasks.run_until(process.run(events)).await };
        let task = tokio::task::spawn_local(main).abort_handle();
        Self { name, inbox, task }
    }

    /// Whether it takes new connections.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Tells it something.
    pub fn send(&self, event: Event) {
        // It may have ended.
        let _ = self.inbox.send(event);
    }

    /// `kill -9`
    pub fn kill(&self) {
        self.task.abort();
    }
}

struct Link {
    number: usize,
    writer: Writer,
    waiting: bool,
}

struct Process {
    engine: Engine,
    host: SimHost,
    settings: SettingsId,
    sidecar: Rc<Sidecar>,
    inbox: mpsc::UnboundedSender<Event>,
    link: Option<Link>,
    leaving: bool,
    /// The sidecar has told where the order stands.
    in_order: bool,
    name: usize,
}

impl Process {
    async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        self.engine.start(&mut self.host);
        self.settle();
        while !(self.leaving && self.engine.busy() == 0) {
            let due = self.engine.next_deadline().map(|at| self.instant(at));
            tokio::select! {
                biased;
                event = events.recv() => {
                    if let Some(event) = event {
                        self.handle(event);
                    }
                }
                () = yield_now(), if self.host.run => {
                    self.host.run = self.engine.run(&mut self.host);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.engine.tick(&mut self.host);
                }
            }
            self.settle();
            self.check();
        }
        self.host.world.note(format_args!("worker {} has left", self.name));
    }

    fn instant(&self, ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms.saturating_sub(self.host.world.ms()))
    }

    fn handle(&mut self, event: Event) {
        let Self { engine, host, .. } = self;
        match event {
            Event::Handshake(end, hello) => {
                let (name, visit) = (host.world.name(), hello.visit);
                let subscriber = subscriber(hello, self.settings);
                host.requests.insert(name, Waiting::Handshake(end, visit, None));
                let (session, ready) = engine.begin_websocket(host, Request(name), subscriber);
                if let Some(Waiting::Handshake(_, _, known)) = host.requests.get_mut(&name) {
                    *known = Some(session);
                }
                if ready {
                    host.deferred.push(Deferred::Upgrade(name));
                }
            }
            Event::Poll(name, hello, answer) => {
                let subscriber = subscriber(hello, self.settings);
                host.requests.insert(name, Waiting::Poll(answer, None));
                let session = engine.open_poll(host, Request(name), subscriber);
                if let Some(Waiting::Poll(_, known)) = host.requests.get_mut(&name) {
                    *known = Some(session);
                }
            }
            Event::Publish(name, messages, answer) => {
                host.requests.insert(name, Waiting::Publish(answer, 0));
                if host.world.sabotage(Sabotage::FalseYes) {
                    host.deferred.push(Deferred::Respond(name, Response::new(200)));
                    return;
                }
                let id = engine.publish(host, Request(name), true, messages);
                if let Some(Waiting::Publish(_, known)) = host.requests.get_mut(&name) {
                    *known = id;
                }
            }
            Event::HungUp(name) => match host.requests.remove(&name) {
                Some(Waiting::Publish(_, id)) => engine.abandon(id),
                Some(Waiting::Poll(_, Some(session)) | Waiting::Handshake(_, _, Some(session))) => {
                    engine.forget(host, session);
                }
                _ => {}
            },
            Event::Bytes(conn, bytes) => {
                if let Some(session) = host.sockets.get(&conn).map(|socket| socket.session) {
                    engine.received(host, session, &bytes);
                }
            }
            Event::Ended(conn) => {
                if let Some(session) = host.sockets.get(&conn).map(|socket| socket.session) {
                    engine.ended(host, session);
                }
            }
            Event::Writable(conn) => {
                if let Some(session) = host.sockets.get(&conn).map(|socket| socket.session) {
                    engine.writable(host, session);
                }
            }
            Event::Link(None) => engine.link_down(host),
            Event::Link(Some(end)) => self.link_up(end),
            Event::LinkBytes(number, bytes) => {
                if self.link.as_ref().is_some_and(|link| link.number == number) {
                    engine.link_received(host, &bytes);
                }
            }
            Event::LinkEnded(number) => {
                if self.link.as_ref().is_some_and(|link| link.number == number) {
                    self.link = None;
                    engine.link_down(host);
                }
            }
            Event::LinkWritable => {
                if let Some(link) = &mut self.link {
                    link.waiting = false;
                }
            }
            Event::Leave => {
                self.leaving = true;
                engine.leave_all(host, SPREAD);
            }
            Event::Busy(answer) => {
                let _ = answer.send(host.requests.len() + engine.busy());
            }
        }
    }

    fn link_up(&mut self, End { reader, writer }: End) {
        let number = self.host.world.name();
        self.link = Some(Link { number, writer, waiting: false });
        self.read(reader, move |bytes| match bytes {
            Some(bytes) => Event::LinkBytes(number, bytes),
            None => Event::LinkEnded(number),
        });
        self.engine.link_up(&mut self.host);
    }

    /// Reads until the end; what comes is told to this process.
    fn read(&self, mut reader: Reader, event: impl Fn(Option<Vec<u8>>) -> Event + 'static) {
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            let mut bytes = Vec::with_capacity(4096);
            while reader.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                let _ = inbox.send(event(Some(std::mem::take(&mut bytes))));
            }
            let _ = inbox.send(event(None));
        });
    }

    /// What the engine has put off is done, and what it wants to say goes out.
    fn settle(&mut self) {
        if !self.in_order && self.engine.is_in_order() {
            // Who was let in before knows nothing of what was published before.
            self.in_order = true;
            let mut ledger = self.host.world.ledger.borrow_mut();
            self.host.sockets.values().for_each(|socket| ledger.covered(socket.visit));
        }
        while !self.host.deferred.is_empty() {
            for deferred in std::mem::take(&mut self.host.deferred) {
                match deferred {
                    Deferred::Close(conn) => drop(self.host.sockets.remove(&conn)),
                    Deferred::Upgrade(request) => self.upgrade(request),
                    Deferred::Respond(request, response) => self.respond(request, response),
                    Deferred::ConnectLink => self.connect(),
                    Deferred::CloseLink => self.link = None,
                }
            }
        }
        self.send_link();
        for conn in std::mem::take(&mut self.host.full) {
            if let Some(socket) = self.host.sockets.get(&conn) {
                self.when(socket.writer.room(), Event::Writable(conn));
            }
        }
    }

    fn when(&self, condition: impl Future<Output = ()> + 'static, event: Event) {
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            condition.await;
            let _ = inbox.send(event);
        });
    }

    fn connect(&self) {
        let (sidecar, world, inbox) =
            (Rc::clone(&self.sidecar), Rc::clone(&self.host.world), self.inbox.clone());
        tokio::task::spawn_local(async move {
            world.pause(2).await;
            let _ = inbox.send(Event::Link(sidecar.connect()));
        });
    }

    fn send_link(&mut self) {
        let Some(link) = &mut self.link else { return };
        while !link.waiting && !self.engine.link_output().is_empty() {
            match link.writer.try_write(self.engine.link_output()) {
                Ok(0) => {
                    link.waiting = true;
                    let room = link.writer.room();
                    return self.when(room, Event::LinkWritable);
                }
                Ok(count) => self.engine.link_sent(count),
                // The end is seen by whoever reads.
                Err(_) => return,
            }
        }
    }

    fn upgrade(&mut self, request: usize) {
        let Some(Waiting::Handshake(end, visit, Some(session))) =
            self.host.requests.remove(&request)
        else {
            return;
        };
        let End { reader, writer } = end;
        let conn = self.host.world.name();
        if writer.try_write(b"101").is_err() {
            return self.engine.forget(&mut self.host, session);
        }
        self.host.sockets.insert(conn, Socket::new(writer, session, visit));
        self.read(reader, move |bytes| match bytes {
            Some(bytes) => Event::Bytes(conn, bytes),
            None => Event::Ended(conn),
        });
        if !self.engine.attach(&mut self.host, session, Conn(conn)) {
            self.host.sockets.remove(&conn);
        } else if self.in_order {
            self.host.world.ledger.borrow_mut().covered(visit);
        }
    }

    fn respond(&mut self, request: usize, response: Response) {
        let world = Rc::clone(&self.host.world);
        match self.host.requests.remove(&request) {
            None => world.violation(format!("request {request} was answered, and has gone")),
            Some(Waiting::Handshake(end, ..)) => {
                let _ = end.writer.try_write(response.status.to_string().as_bytes());
            }
            Some(Waiting::Poll(answer, _)) => {
                world.note(format_args!("poll {request} answered {}", response.status));
                let _ = answer.send(response);
            }
            Some(Waiting::Publish(answer, _)) => {
                if world.sabotage(Sabotage::NeverAnswer) {
                    return self.host.forgotten.push(answer);
                }
                let no = response.status == 200 && world.sabotage(Sabotage::FalseNo);
                let response = if no { Response::unavailable() } else { response };
                let mut ledger = world.ledger.borrow_mut();
                ledger.answered(&world, request, response.status);
                if world.sabotage(Sabotage::AnswerTwice) {
                    ledger.answered(&world, request, response.status);
                }
                let _ = answer.send(response);
            }
        }
    }

    /// Queues stay within their bounds.
    fn check(&self) {
        let queues = self.engine.queues();
        let setup = &self.host.world.setup;
        let bound = setup.session_queue_bound();
        if queues.largest_session > bound {
            let what = format!("{} bytes wait for a session, {bound} may", queues.largest_session);
            self.host.world.violation(what);
        }
        if queues.fanouts > 64 {
            self.host.world.violation(format!("{} fan-outs are under way", queues.fanouts));
        }
    }
}

fn subscriber(hello: Hello, settings: SettingsId) -> Subscriber {
    let Hello { channels, mid, format, visit: _ } = hello;
    Subscriber { channels, mid, format, settings }
}

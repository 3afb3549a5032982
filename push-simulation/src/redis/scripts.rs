//! The sidecar's Lua scripts, run by Lua itself: what they do need not be told twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Function, Lua, Table, Value, Variadic};
use sha1::{Digest, Sha1};

use crate::wire::hex;

use super::data::Data;
use super::resp::Reply;

/// What commands act on.
pub struct Acting {
    /// The keys.
    pub data: Data,
    /// What was published and has not been handed out: channels and payloads, in order.
    pub published: Vec<(Vec<u8>, Vec<u8>)>,
    /// As a replica answers.
    pub read_only: bool,
}

impl Acting {
    /// Does a command, from a script or a client.
    pub fn call(&mut self, command: &[Vec<u8>]) -> Reply {
        let Some((name, args)) = command.split_first() else {
            return Reply::Error("ERR Please specify at least one argument".into());
        };
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        if self.read_only && Data::writes(&name) {
            return Reply::Error("READONLY You can't write against a read only replica.".into());
        }
        if name == "PUBLISH" {
            self.published.push((args[0].clone(), args[1].clone()));
            return Reply::Int(1);
        }
        let unknown = || Reply::Error(format!("ERR unknown command '{name}'"));
        self.data.execute(&name, args).unwrap_or_else(unknown)
    }
}

/// An interpreter, and the scripts it knows.
pub struct Scripts {
    lua: Lua,
    known: BTreeMap<String, Function>,
}

impl Scripts {
    /// Knows none; they will act on `acting`.
    pub fn new(acting: &Rc<RefCell<Acting>>) -> mlua::Result<Self> {
        let lua = Lua::new();
        let redis = lua.create_table()?;
        for (name, raises) in [("call", true), ("pcall", false)] {
            let acting = Rc::clone(acting);
            let function = lua.create_function(move |lua, args: Variadic<Value>| {
                let command: Vec<Vec<u8>> =
                    args.iter().map(argument).collect::<mlua::Result<_>>()?;
                let reply = acting.borrow_mut().call(&command);
                match reply {
                    Reply::Error(error) if raises => Err(mlua::Error::runtime(error)),
                    reply => to_lua(lua, &reply),
                }
            })?;
            redis.set(name, function)?;
        }
        lua.globals().set("redis", redis)?;
        Ok(Self { lua, known: BTreeMap::new() })
    }

    /// `SCRIPT FLUSH`
    pub fn flush(&mut self) {
        self.known.clear();
    }

    /// `EVALSHA hash …`
    pub fn run_known(&self, hash: &[u8], rest: &[Vec<u8>]) -> Reply {
        match self.known.get(&*String::from_utf8_lossy(hash)) {
            None => Reply::Error("NOSCRIPT No matching script. Please use EVAL.".into()),
            Some(function) => self.run(function, rest),
        }
    }

    /// `EVAL text …`
    pub fn run_text(&mut self, text: &[u8], rest: &[Vec<u8>]) -> Reply {
        let function = match self.lua.load(text).into_function() {
            Ok(function) => function,
            Err(error) => return Reply::Error(format!("ERR Error compiling script: {error}")),
        };
        let hash = hex(&Sha1::digest(text));
        let reply = self.run(&function, rest);
        self.known.insert(hash, function);
        reply
    }

    fn run(&self, function: &Function, rest: &[Vec<u8>]) -> Reply {
        let reply = self.arguments(rest).and_then(|()| function.call::<Value>(()));
        match reply.and_then(|value| from_lua(&value)) {
            Ok(reply) => reply,
            Err(error) => Reply::Error(message(&error)),
        }
    }

    /// The number of keys, keys, arguments.
    fn arguments(&self, rest: &[Vec<u8>]) -> mlua::Result<()> {
        let count =
            rest.first().and_then(|n| std::str::from_utf8(n).ok()?.parse().ok()).unwrap_or(0);
        let (keys, args) = rest.get(1..).unwrap_or_default().split_at(count);
        for (name, values) in [("KEYS", keys), ("ARGV", args)] {
            let strings: Vec<_> =
                values.iter().map(|v| self.lua.create_string(v)).collect::<mlua::Result<_>>()?;
            self.lua.globals().set(name, self.lua.create_sequence_from(strings)?)?;
        }
        Ok(())
    }
}

fn argument(value: &Value) -> mlua::Result<Vec<u8>> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(format!("{number}").into_bytes()),
        _ => Err(mlua::Error::runtime(
            "ERR Lua redis lib command arguments must be strings or integers",
        )),
    }
}

fn to_lua(lua: &Lua, reply: &Reply) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Nil => Value::Boolean(false),
        Reply::Int(number) => Value::Number(*number as f64),
        Reply::Bulk(bytes) => Value::String(lua.create_string(bytes)?),
        Reply::Status(word) => table_of(lua, "ok", word)?,
        Reply::Error(error) => table_of(lua, "err", error)?,
        Reply::Array(replies) | Reply::Push(replies) => {
            let values: Vec<Value> =
                replies.iter().map(|reply| to_lua(lua, reply)).collect::<mlua::Result<_>>()?;
            Value::Table(lua.create_sequence_from(values)?)
        }
    })
}

fn table_of(lua: &Lua, field: &str, text: &str) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.set(field, text)?;
    Ok(Value::Table(table))
}

fn from_lua(value: &Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Reply::Int(*number),
        Value::Number(number) => Reply::Int(*number as i64),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => return table_reply(table),
        _ => Reply::Nil,
    })
}

fn table_reply(table: &Table) -> mlua::Result<Reply> {
    if let Ok(Some(error)) = table.raw_get::<Option<String>>("err") {
        return Ok(Reply::Error(error));
    }
    if let Ok(Some(_)) = table.raw_get::<Option<String>>("ok") {
        return Ok(Reply::OK);
    }
    let values = table.sequence_values::<Value>();
    Ok(Reply::Array(values.map(|value| from_lua(&value?)).collect::<mlua::Result<_>>()?))
}

/// The text of what a script's command raised, without Lua's decoration: it begins with a code.
fn message(error: &mlua::Error) -> String {
    let mut error = error;
    while let mlua::Error::CallbackError { cause, .. } = error {
        error = cause;
    }
    let text = match error {
        mlua::Error::RuntimeError(text) => text.clone(),
        other => format!("ERR {other}"),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

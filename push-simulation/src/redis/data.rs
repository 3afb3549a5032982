//! What Redis holds, and the commands on it that the sidecar and its scripts use.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::resp::Reply;
use crate::rng::Rng;

type Bytes = Vec<u8>;
type Result<T = Reply> = std::result::Result<T, String>;
/// An id in a stream.
type Entry = (u64, u64);
/// A stream's entries and the last id it ever had.
type Stream<'a> = (&'a mut BTreeMap<Entry, Vec<Bytes>>, &'a mut Entry);

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[derive(Clone, Debug)]
enum Value {
    Text(Bytes),
    /// A sorted set whose scores are all alike.
    Sorted(BTreeSet<Bytes>),
    Set(BTreeSet<Bytes>),
    Hash(BTreeMap<Bytes, Bytes>),
    Stream {
        entries: BTreeMap<Entry, Vec<Bytes>>,
        last: Entry,
    },
}

#[derive(Clone, Debug)]
struct Object {
    value: Value,
    /// Unix milliseconds.
    expires: Option<u64>,
}

/// Makes an accessor of one type's values: there, absent, or of the wrong type.
macro_rules! accessor {
    ($name:ident, $variant:ident, $type:ty) => {
        fn $name(&mut self, key: &[u8]) -> Result<Option<&mut $type>> {
            match self.alive(key).map(|object| &mut object.value) {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value)),
                Some(_) => Err(WRONG_TYPE.into()),
            }
        }
    };
}

/// All keys.
#[derive(Clone, Debug)]
pub struct Data {
    objects: BTreeMap<Bytes, Object>,
    rng: Rng,
    /// Unix milliseconds; stands still within a command, as in Redis.
    pub now: u64,
}

impl Data {
    /// Empty.
    pub fn new(rng: Rng) -> Self {
        Self { objects: BTreeMap::new(), rng, now: 0 }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.objects.clear();
    }

    /// Takes one key away.
    pub fn remove(&mut self, key: &[u8]) {
        self.objects.remove(key);
    }

    /// Whether a key is there and alive.
    pub fn has(&self, key: &[u8]) -> bool {
        self.objects.get(key).is_some_and(|o| o.expires.is_none_or(|at| at > self.now))
    }

    /// Whether a sorted set has a member.
    pub fn has_member(&self, key: &[u8], member: &[u8]) -> bool {
        let object = self.objects.get(key).filter(|_| self.has(key));
        matches!(object, Some(Object { value: Value::Sorted(set), .. }) if set.contains(member))
    }

    /// Whether a command changes anything.
    pub fn writes(name: &str) -> bool {
        const READS: [&str; 14] = [
            "GET",
            "MGET",
            "EXISTS",
            "TTL",
            "PTTL",
            "TIME",
            "XRANGE",
            "ZRANGEBYLEX",
            "ZREVRANGEBYLEX",
            "ZCARD",
            "ZRANDMEMBER",
            "SMEMBERS",
            "HGETALL",
            "PUBLISH",
        ];
        !READS.contains(&name)
    }

    /// Does a command; `None`: there is no such command here.
    pub fn execute(&mut self, name: &str, args: &[Bytes]) -> Option<Reply> {
        let result = match name {
            "GET" => self.text(&args[0]).map(|text| reply_of(text.cloned())),
            "MGET" => Ok(self.mget(args)),
            "SET" => self.set(args),
            "SETEX" => self.setex(args),
            "INCRBY" => self.incrby(args),
            "EXISTS" => Ok(Reply::Int(args.iter().filter(|key| self.has(key)).count() as i64)),
            "DEL" => Ok(self.del(args)),
            "TTL" => Ok(Reply::Int(self.left(&args[0], 1000))),
            "PTTL" => Ok(Reply::Int(self.left(&args[0], 1))),
            "EXPIRE" => self.expire(args),
            "TIME" => {
                let (seconds, micros) = (self.now / 1000, self.now % 1000 * 1000);
                Ok(Reply::Array(vec![Reply::number(seconds), Reply::number(micros)]))
            }
            "ZADD" => self.zadd(args),
            "ZREM" => self.zrem(args),
            "ZCARD" => self.zcard(args),
            "ZRANDMEMBER" => self.zrandmember(args),
            "ZRANGEBYLEX" => self.zrangebylex(args, false),
            "ZREVRANGEBYLEX" => self.zrangebylex(args, true),
            "SADD" => self.sadd(args),
            "SREM" => self.srem(args),
            "SMEMBERS" => self.smembers(args),
            "HSET" => self.hset(args),
            "HDEL" => self.hdel(args),
            "HGETALL" => self.hgetall(args),
            "XADD" => self.xadd(args),
            "XTRIM" => self.xtrim(args),
            "XRANGE" => self.xrange(args),
            _ => return None,
        };
        Some(result.unwrap_or_else(Reply::Error))
    }

    fn alive(&mut self, key: &[u8]) -> Option<&mut Object> {
        if !self.has(key) {
            self.objects.remove(key);
        }
        self.objects.get_mut(key)
    }

    /// Makes the key if it is not there.
    fn make(&mut self, key: &[u8], value: Value) {
        if self.alive(key).is_none() {
            self.put(key, value, None);
        }
    }

    fn put(&mut self, key: &[u8], value: Value, expires: Option<u64>) {
        self.objects.insert(key.to_vec(), Object { value, expires });
    }

    accessor!(text, Text, Bytes);
    accessor!(sorted, Sorted, BTreeSet<Bytes>);
    accessor!(members, Set, BTreeSet<Bytes>);
    accessor!(hash, Hash, BTreeMap<Bytes, Bytes>);

    // Strings -----------------------------------------------------------------------------------

    fn mget(&mut self, keys: &[Bytes]) -> Reply {
        // Nil for what is no string, too.
        let values = keys.iter().map(|key| reply_of(self.text(key).ok().flatten().cloned()));
        Reply::Array(values.collect())
    }

    fn set(&mut self, args: &[Bytes]) -> Result {
        let mut expires = None;
        let mut options = args[2..].iter();
        while let Some(option) = options.next() {
            let mut time = || options.next().ok_or("ERR syntax error").map(|time| number(time));
            match &option[..] {
                b"EX" => expires = Some(self.now + time()?? * 1000),
                b"PXAT" => expires = Some(time()??),
                b"NX" if self.has(&args[0]) => return Ok(Reply::Nil),
                b"NX" => {}
                _ => return Err("ERR syntax error".into()),
            }
        }
        self.put(&args[0], Value::Text(args[1].clone()), expires);
        Ok(Reply::OK)
    }

    fn setex(&mut self, args: &[Bytes]) -> Result {
        let expires = self.now + number(&args[1])? * 1000;
        self.put(&args[0], Value::Text(args[2].clone()), Some(expires));
        Ok(Reply::OK)
    }

    fn incrby(&mut self, args: &[Bytes]) -> Result {
        let by = number(&args[1])?;
        self.make(&args[0], Value::Text(b"0".to_vec()));
        let text = self.text(&args[0])?.ok_or(WRONG_TYPE)?;
        let after = number(text)? + by;
        *text = after.to_string().into_bytes();
        Ok(Reply::Int(after as i64))
    }

    // Keys --------------------------------------------------------------------------------------

    fn del(&mut self, keys: &[Bytes]) -> Reply {
        let gone = keys.iter().filter(|key| self.has(key)).count();
        for key in keys {
            self.remove(key);
        }
        Reply::Int(gone as i64)
    }

    fn left(&mut self, key: &[u8], unit: u64) -> i64 {
        let now = self.now;
        match self.alive(key).map(|object| object.expires) {
            None => -2,
            Some(None) => -1,
            Some(Some(at)) => ((at - now + unit / 2) / unit) as i64,
        }
    }

    fn expire(&mut self, args: &[Bytes]) -> Result {
        let until = self.now + number(&args[1])? * 1000;
        let object = self.alive(&args[0]);
        Ok(Reply::Int(object.map(|object| object.expires = Some(until)).is_some().into()))
    }

    // Sorted sets -------------------------------------------------------------------------------

    fn zadd(&mut self, args: &[Bytes]) -> Result {
        self.make(&args[0], Value::Sorted(BTreeSet::new()));
        let new = self.sorted(&args[0])?.is_some_and(|set| set.insert(args[2].clone()));
        Ok(Reply::Int(new.into()))
    }

    fn zrem(&mut self, args: &[Bytes]) -> Result {
        let Some(set) = self.sorted(&args[0])? else { return Ok(Reply::Int(0)) };
        let gone = args[1..].iter().filter(|member| set.remove(*member)).count();
        if set.is_empty() {
            self.remove(&args[0]);
        }
        Ok(Reply::Int(gone as i64))
    }

    fn zcard(&mut self, args: &[Bytes]) -> Result {
        Ok(Reply::Int(self.sorted(&args[0])?.map_or(0, |set| set.len() as i64)))
    }

    fn zrandmember(&mut self, args: &[Bytes]) -> Result {
        let count = number(&args[1])? as usize;
        let set = self.sorted(&args[0])?;
        let all: Vec<Bytes> = set.map(|set| set.iter().cloned().collect()).unwrap_or_default();
        Ok(Reply::Array(self.rng.some(&all, count).into_iter().map(Reply::Bulk).collect()))
    }

    /// `ZRANGEBYLEX key min max`, `ZREVRANGEBYLEX key max min`, both with `LIMIT`.
    fn zrangebylex(&mut self, args: &[Bytes], reverse: bool) -> Result {
        let (min, max) = if reverse { (&args[2], &args[1]) } else { (&args[1], &args[2]) };
        let (min, max) = (bound(min)?, bound(max)?);
        let (skip, count) = match args.get(3..6) {
            Some([_, skip, count]) => (number(skip)? as usize, number(count)? as usize),
            _ => (0, usize::MAX),
        };
        let Some(set) = self.sorted(&args[0])? else { return Ok(Reply::Array(Vec::new())) };
        let within = |id: &&Bytes| above(&min, id) && below(&max, id);
        let mut found: Vec<Bytes> = set.iter().filter(within).cloned().collect();
        if reverse {
            found.reverse();
        }
        Ok(Reply::Array(found.into_iter().skip(skip).take(count).map(Reply::Bulk).collect()))
    }

    // Sets and hashes ---------------------------------------------------------------------------

    fn sadd(&mut self, args: &[Bytes]) -> Result {
        self.make(&args[0], Value::Set(BTreeSet::new()));
        let set = self.members(&args[0])?.ok_or(WRONG_TYPE)?;
        Ok(Reply::Int(args[1..].iter().filter(|&member| set.insert(member.clone())).count() as i64))
    }

    fn srem(&mut self, args: &[Bytes]) -> Result {
        let Some(set) = self.members(&args[0])? else { return Ok(Reply::Int(0)) };
        Ok(Reply::Int(args[1..].iter().filter(|&member| set.remove(member)).count() as i64))
    }

    fn smembers(&mut self, args: &[Bytes]) -> Result {
        let set = self.members(&args[0])?.cloned().unwrap_or_default();
        Ok(Reply::Array(set.into_iter().map(Reply::Bulk).collect()))
    }

    fn hset(&mut self, args: &[Bytes]) -> Result {
        self.make(&args[0], Value::Hash(BTreeMap::new()));
        let hash = self.hash(&args[0])?.ok_or(WRONG_TYPE)?;
        let pairs = args[1..].as_chunks::<2>().0;
        hash.extend(pairs.iter().cloned().map(|[field, value]| (field, value)));
        Ok(Reply::Int(pairs.len() as i64))
    }

    fn hdel(&mut self, args: &[Bytes]) -> Result {
        let Some(hash) = self.hash(&args[0])? else { return Ok(Reply::Int(0)) };
        Ok(
            Reply::Int(
                args[1..].iter().filter(|&field| hash.remove(field).is_some()).count() as i64
            ),
        )
    }

    fn hgetall(&mut self, args: &[Bytes]) -> Result {
        let hash = self.hash(&args[0])?.cloned().unwrap_or_default();
        let flat = hash.into_iter().flat_map(|(field, value)| [field, value]);
        Ok(Reply::Array(flat.map(Reply::Bulk).collect()))
    }

    // Streams -----------------------------------------------------------------------------------

    fn stream(&mut self, key: &[u8]) -> Result<Option<Stream<'_>>> {
        match self.alive(key).map(|object| &mut object.value) {
            None => Ok(None),
            Some(Value::Stream { entries, last }) => Ok(Some((entries, last))),
            Some(_) => Err(WRONG_TYPE.into()),
        }
    }

    fn xadd(&mut self, args: &[Bytes]) -> Result {
        let id = entry(&args[1])?;
        self.make(&args[0], Value::Stream { entries: BTreeMap::new(), last: (0, 0) });
        let (entries, last) = self.stream(&args[0])?.ok_or(WRONG_TYPE)?;
        if id <= *last {
            let problem = "is equal or smaller than the target stream top item";
            return Err(format!("ERR The ID specified in XADD {problem}"));
        }
        *last = id;
        entries.insert(id, args[2..].to_vec());
        Ok(Reply::bulk(&args[1][..]))
    }

    /// `XTRIM key MINID ~ id`
    fn xtrim(&mut self, args: &[Bytes]) -> Result {
        let from = entry(&args[3])?;
        let Some((entries, _)) = self.stream(&args[0])? else { return Ok(Reply::Int(0)) };
        let before = entries.len();
        *entries = entries.split_off(&from);
        Ok(Reply::Int((before - entries.len()) as i64))
    }

    /// `XRANGE key (from upto COUNT n`
    fn xrange(&mut self, args: &[Bytes]) -> Result {
        let from = args[1].strip_prefix(b"(").ok_or("ERR only exclusive starts here")?;
        let (from, upto) = (entry(from)?, entry(&args[2])?);
        let count = number(&args[4])? as usize;
        let Some((entries, _)) = self.stream(&args[0])?.filter(|_| from < upto) else {
            return Ok(Reply::Array(Vec::new()));
        };
        let range = entries.range((Bound::Excluded(from), Bound::Included(upto))).take(count);
        let found = range.map(|(id, fields)| {
            let fields = fields.iter().map(|field| Reply::bulk(&field[..])).collect();
            Reply::Array(vec![Reply::bulk(format!("{}-{}", id.0, id.1)), Reply::Array(fields)])
        });
        Ok(Reply::Array(found.collect()))
    }
}

fn reply_of(value: Option<Bytes>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bulk)
}

fn number(text: &[u8]) -> Result<u64> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| "ERR value is not an integer or out of range".into())
}

fn entry(text: &[u8]) -> Result<Entry> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let parts = text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.ok_or_else(|| "ERR Invalid stream ID specified as stream command argument".into())
}

fn bound(text: &[u8]) -> Result<Bound<Bytes>> {
    match text {
        b"+" | b"-" => Ok(Bound::Unbounded),
        [b'(', rest @ ..] => Ok(Bound::Excluded(rest.to_vec())),
        [b'[', rest @ ..] => Ok(Bound::Included(rest.to_vec())),
        _ => Err("ERR min or max not valid string range item".into()),
    }
}

fn above(bound: &Bound<Bytes>, member: &Bytes) -> bool {
    match bound {
        Bound::Unbounded => true,
        Bound::Included(bound) => member >= bound,
        Bound::Excluded(bound) => member > bound,
    }
}

fn below(bound: &Bound<Bytes>, member: &Bytes) -> bool {
    match bound {
        Bound::Unbounded => true,
        Bound::Included(bound) => member <= bound,
        Bound::Excluded(bound) => member < bound,
    }
}

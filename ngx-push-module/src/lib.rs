//! `ngx_http_bx_push_module`: a push server for Bitrix portals inside nginx's workers.
//!
//! | module | what |
//! |---|---|
//! | [`directives`], [`location`] | what stands in nginx.conf, and what it amounts to |
//! | [`handlers`] | what a request wants, by its location's role |
//! | [`worker`] | the one engine of a worker process, and when it is called |
//! | [`host`] | what the engine asks of nginx |
//! | [`ngx`] | nginx itself: the only room with `unsafe` |
//!
//! The engine ([`push_worker::Engine`]) is entered through [`worker`] only and never from within
//! itself: what it asks for is noted and done when it has returned.
#![deny(unsafe_code)]

mod directives;
mod handlers;
mod host;
mod location;
#[allow(unsafe_code, reason = "the only room where nginx's pointers are touched")]
mod ngx;
mod worker;

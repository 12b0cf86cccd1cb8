//! The page: static files, a JSON API for what lies beside the messages, and the WebSocket that carries them.
//!
//! - **The WebSocket `/ws` is framed TCP in binary messages.** After the request's checks the bare socket goes to a shard
//!   and is a session in the WebSocket dialect ([`crate::dialect`]): a browser's messages are unpacked into framed requests,
//!   and a batch of the fan-out leaves as one binary message. Once begun a batch is owned by the connection until it is out
//!   (about 256 KiB of shared slices at most), for its header has promised its length.
//! - **HTTPS and HTTP share the port.** The first byte says which a connection speaks. HTTP stays allowed with every
//!   `--plaintext` but `never`, because a browser has to install the site's root before HTTPS gives no warning. No answer asks
//!   browsers to insist on HTTPS (HSTS): the page is found by addresses, which may belong to another device tomorrow.
//! - **The API `/api`** answers what registry and relay know, by gRPC, as JSON: groups, members, receipts (a line for each
//!   change), invites, the lab's figures (made at most once a second, however many look). History is runs, unchanged, so
//!   that the page has one decoder.
//! - **Requests are checked by [`guard`].** The Origin of a WebSocket and of every change must be the page's own, HTTPS for
//!   a request by HTTPS; the Host
//!   must be an address, a name of the local network or `--advertise`, so that a site of the internet cannot point its name
//!   here and speak for its visitors. Nothing inline is allowed by the policy of every answer. Each connection counts among
//!   the hub's sessions.
//! - **A browser's device** is an Ed25519 key that never leaves it. On pages that came by TLS or from their own machine it is
//!   one that the browser keeps and no script reads; elsewhere it is a seed in localStorage, with which the page computes itself
//!   (`js/wire/ed25519.js`). It signs the challenge of its session, and the calls that the API passes to the registry. Requests that carry a ticket show that
//!   challenge too ([`crate::page_sessions`]). `client_id` is
//!   new with each page; what is not acknowledged is sent again after a reconnect with its `client_seq`, and is lost, after a
//!   warning, when the page is closed.
//! - **A page that others can read** (HTTP from another machine) is for open groups alone and says so in a banner; private groups
//!   and invites are refused there. `/trust` gives the site's root to install, and the code and fingerprint to compare before.
//!
//! The files are those of `clients/web`, as they are written. `js/wire` has the codecs, `js/chat` the chat without a screen,
//! `js/view` and `js/lab` what is seen. A group's log is rows by seq and the changes to them (edits and deletions count from
//! their author's device alone), in whichever order they came; what a change costs does not grow with how many there are,
//! and what is kept for rows that are not loaded is bounded, with the heaviest sender losing first. The timeline is a window
//! of 180 rows over it, and of 4000 rows (16 Mi characters) the oldest go. Tabs share name, groups and read positions, each
//! under its own key of localStorage; a draft is its tab's, over a reload too. Names, texts and emoji pass `harmless.js`,
//! which shows what the terminal shows.

mod api;
mod context;
mod files;
mod guard;
mod serve;
mod site;
mod socket;

pub(crate) use self::{
    context::{ApiContext, PageAddress},
    serve::{PagePort, run},
    site::PageSite,
};

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};

use crate::session_entry::SessionEntry;

/// Most bytes in the body of a request to the API.
const MAX_BODY: usize = 16 * 1024;

fn router(context: ApiContext, entry: SessionEntry) -> Router {
    let advertise = Arc::<str>::from(context.address.advertise.as_str());
    let site = context.site.clone();
    Router::new()
        .nest("/api", api::router(Arc::new(context)))
        .route("/ws", get(socket::open).with_state(entry))
        .route("/trust/root.crt", get(site::root).with_state(site))
        .fallback(get(files::serve))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(advertise, guard::check))
}

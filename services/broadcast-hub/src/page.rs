//! The page: static files, a JSON API for what lies beside the messages, and the WebSocket that carries them.

mod api;
mod files;
mod guard;
mod serve;
mod socket;

pub(crate) use serve::run;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};

use crate::hub::Hub;

/// Largest body of a request to the API.
const MAX_BODY: usize = 16 * 1024;

fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .nest("/api", api::router())
        .route("/ws", get(socket::open))
        .fallback(get(files::serve))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(hub.clone(), guard::check))
        .with_state(hub)
}

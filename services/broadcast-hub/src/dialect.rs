//! The dialects of the hub's ports: each reads requests from bytes and writes what a session says as bytes.

mod framed;
mod text;
mod web_socket;

pub use self::{
    framed::Framed,
    text::{Text, TextIdentity},
};
pub(crate) use self::{framed::goodbye, web_socket::WebSocket};

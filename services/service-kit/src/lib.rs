//! Start-up, supervision and shutdown as the three services and `gaung up` share them. Of Gaung's protocol it knows only how a service
//! enrols at the registry.
//!
//! The order of a service's life ([`program::main`] for a program of its own) is: parse [`config::CommonArgs`] and its own flags, collect every fault in
//! [`config::ConfigErrors`], start [`telemetry`], [`bind`] everything, build [`rpc::RpcServer`], put its parts into
//! [`supervise::Tasks`], call [`readiness::Readiness::ready`], and [`supervise::Tasks::run`] until a signal.

pub mod amount;
pub mod bind;
pub mod config;
pub mod data_folder;
pub mod health_client;
pub mod metrics;
pub mod open_files;
pub mod pace;
pub mod places;
pub mod program;
pub mod readiness;
pub mod rpc;
pub mod runtime;
pub mod secure;
pub mod share;
pub mod supervise;
pub mod telemetry;
pub mod watched;

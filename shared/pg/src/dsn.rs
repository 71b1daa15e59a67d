//! How a server is reached, as libpq understands it.
//!
//! A connection string in URL or keyword form, libpq's environment, service files and passfiles come
//! together in [`ConnectionSettings`], with libpq's precedence: the string, then the service, then the
//! environment, then the defaults. From there both sides are served alike: our own connections, and
//! the environment of a child such as pg_dump, whose password goes by a private passfile and never by
//! its arguments or its environment.

mod child;
mod error;
mod keywords;
mod options;
mod parse;
mod passfile;
mod service;
mod settings;
mod sqlx_options;

pub(crate) use child::conninfo_item;
pub use child::{ChildConnection, PassFile};
pub use error::DsnError;
pub use options::{escape_option, parse_options};
pub use settings::{ConnectionSettings, Environment, Host, HostAddress, process_environment};

#[cfg(test)]
mod tests;

//! Names and values as they stand in SQL.

pub(crate) use plana_plan::sql::{identifier, literal};

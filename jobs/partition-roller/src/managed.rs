//! Which tables the configuration means.

use plana_config::schema::{PartitionedTables, Partitions};
use plana_pg::partitions::{Catalog, References};
use plana_plan::{
    name::printable,
    partition::{Creation, Grid, Names, Policy, Table, plan_creation},
    select::Selection,
};

/// A table whose partitions are ours to make and to retire.
#[derive(Debug, Clone)]
pub struct Managed {
    /// The table, as the catalog has it.
    pub table: Table,
    /// Its owner, as whom everything is done.
    pub owner: String,
    /// Its foreign keys.
    pub references: References,
    /// What is wanted.
    pub config: PartitionedTables,
    /// What its partitions shall be; its retention is that of the deployments once they were asked.
    pub policy: Policy,
}

/// What the configuration means.
#[derive(Debug, Default)]
pub struct Selected {
    /// The tables, by name.
    pub tables: Vec<Managed>,
    /// Names of the configuration that mean no table of ours: (name, what is wrong; completes "failed to …").
    pub wrong: Vec<(String, String)>,
    /// Tables of a whole schema that cannot be managed, and why.
    pub left_alone: Vec<String>,
}

impl Managed {
    /// `schema.table`, for people.
    pub fn name(&self) -> String {
        self.table.full_name()
    }

    /// Its calendar.
    pub fn grid(&self) -> Grid {
        self.policy.grid(self.table.key)
    }

    /// Which of its partitions are missing.
    pub fn missing(&self, catalog: &Catalog) -> Creation {
        let none = Names::new();
        plan_creation(&self.table, catalog.names.get(&self.table.schema).unwrap_or(&none), &self.policy, catalog.now)
    }
}

/// Finds the tables that the configuration names.
pub fn select(catalog: &Catalog, config: &Partitions, selection: &Selection) -> Selected {
    let mut selected = Selected::default();
    for group in config.tables.values() {
        match (&group.table, &group.schema) {
            (Some(name), _) if selection.takes(name) => one(catalog, group, name, &mut selected),
            (None, Some(schema)) => all_of(catalog, config, group, schema, selection, &mut selected),
            _ => {}
        }
    }
    for name in selection.unmatched(
        &selected.tables.iter().map(|managed| full(&managed.table)).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>(),
    ) {
        let wrong = format!("find what --only {} means: no table of that name is configured (partitions.tables)", printable(name));
        selected.wrong.push((name.to_owned(), wrong));
    }
    selected.tables.sort_by_key(|managed| full(&managed.table));
    selected
}

fn full(table: &Table) -> String {
    format!("{}.{}", table.schema, table.name)
}

fn one(catalog: &Catalog, group: &PartitionedTables, name: &str, selected: &mut Selected) {
    if let Some(table) = catalog.tables.iter().find(|table| full(table) == name) {
        selected.tables.push(managed(catalog, group, table));
        return;
    }
    let other = catalog.others.iter().find(|(schema, table, _)| format!("{schema}.{table}") == name);
    let why = match other {
        Some((.., why)) => format!("{why}: take it out of partitions.tables"),
        None => "there is no partitioned table of that name in this database; look at partitions.tables and partitions.database".to_owned(),
    };
    selected.wrong.push((name.to_owned(), format!("roll {}: {why}", printable(name))));
}

fn all_of(catalog: &Catalog, config: &Partitions, group: &PartitionedTables, schema: &str, selection: &Selection, selected: &mut Selected) {
    let named = |table: &Table| config.tables.values().any(|other| other.table.as_deref() == Some(full(table).as_str()));
    let excluded = |name: &str| group.exclude.iter().any(|pattern| pattern.matches(name));
    for table in catalog.tables.iter().filter(|table| table.schema == schema) {
        if !named(table) && !excluded(&table.name) && selection.takes(&full(table)) {
            selected.tables.push(managed(catalog, group, table));
        }
    }
    for (_, table, why) in catalog.others.iter().filter(|(other, table, _)| other == schema && !excluded(table)) {
        selected.left_alone.push(format!("{} is left alone: {why}", printable(&format!("{schema}.{table}"))));
    }
}

fn managed(catalog: &Catalog, group: &PartitionedTables, table: &Table) -> Managed {
    Managed {
        table: table.clone(),
        owner: catalog.owners.get(&table.oid).cloned().unwrap_or_default(),
        references: catalog.references.get(&table.oid).cloned().unwrap_or_default(),
        config: group.clone(),
        policy: group.policy(),
    }
}

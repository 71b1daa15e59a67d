//! Which tables pg_restore has done with while it is at work on others: decided by the archive's own dependencies.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use plana_pg::{archive::TocEntry, restore::RestoreStep};
use plana_plan::manifest::TableFacts;

/// Sections of a table of contents, as pg_dump numbers them.
const DATA: i64 = 3;
const POST_DATA: i64 = 4;

/// What several jobs restore, and what of it waits for what.
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    /// Schema and name of a table → the entry of its rows, and that of the table.
    data: HashMap<(String, String), Vec<i64>>,
    /// What comes after the data → what it depends on.
    after: Vec<(i64, Vec<i64>)>,
    /// Its functions run at whatever is made after them: nothing is as it will be before the end.
    event_triggers: bool,
}

impl Work {
    /// Notes an entry of the archive.
    pub(super) fn entry(&mut self, entry: &TocEntry) {
        match (entry.section, &*entry.desc) {
            (DATA, "TABLE DATA") => {
                let name = (entry.namespace.clone().unwrap_or_default(), entry.tag.clone());
                self.data.insert(name, [&[entry.dump_id][..], &entry.dependencies].concat());
            }
            (_, "EVENT TRIGGER") => self.event_triggers = true,
            (POST_DATA, _) => self.after.push((entry.dump_id, entry.dependencies.clone())),
            _ => {}
        }
    }
}

/// Follows pg_restore's steps.
#[derive(Debug)]
pub(super) struct FinishedTables {
    /// Entries of rows that are not in the database yet.
    rows: HashSet<i64>,
    tables: usize,
    /// Of each table, what is not restored yet of it.
    waits: Vec<HashSet<i64>>,
    /// An entry → the tables that wait for it.
    waiting: HashMap<i64, Vec<usize>>,
    /// What connections are at work on.
    running: BTreeSet<i64>,
    jobs: usize,
    ready: VecDeque<usize>,
}

impl FinishedTables {
    /// Of these tables, in this order; so many jobs restore.
    pub(super) fn new(work: &Work, tables: &[TableFacts], jobs: u32) -> Self {
        let mut dependents: HashMap<i64, Vec<i64>> = HashMap::new();
        for (entry, needs) in &work.after {
            needs.iter().for_each(|need| dependents.entry(*need).or_default().push(*entry));
        }
        let mut waits = vec![HashSet::new(); tables.len()];
        let mut waiting: HashMap<i64, Vec<usize>> = HashMap::new();
        for (index, table) in tables.iter().enumerate().filter(|_| !work.event_triggers) {
            let Some(entries) = work.data.get(&(table.schema.clone(), table.table.clone())) else { continue };
            let mut all: HashSet<i64> = entries.iter().take(1).copied().collect();
            let mut from = entries.clone();
            while let Some(entry) = from.pop() {
                from.extend(dependents.get(&entry).into_iter().flatten().filter(|dependent| all.insert(**dependent)));
            }
            all.iter().for_each(|entry| waiting.entry(*entry).or_default().push(index));
            waits[index] = all;
        }
        let rows: HashSet<i64> = work.data.values().filter_map(|entries| entries.first()).copied().collect();
        FinishedTables { tables: rows.len(), rows, waits, waiting, running: BTreeSet::new(), jobs: jobs as usize, ready: VecDeque::new() }
    }

    /// Takes a step.
    pub(super) fn step(&mut self, step: RestoreStep) {
        match step {
            RestoreStep::Launched(entry) => drop(self.running.insert(entry)),
            RestoreStep::Finished(entry) => {
                self.running.remove(&entry);
                self.rows.remove(&entry);
                for table in self.waiting.remove(&entry).unwrap_or_default() {
                    self.waits[table].remove(&entry);
                    if self.waits[table].is_empty() {
                        self.ready.push_back(table);
                    }
                }
            }
        }
    }

    /// Tables whose rows are in the database.
    pub(super) fn filled(&self) -> u64 {
        (self.tables - self.rows.len()) as u64
    }

    /// Whether a table could be looked at without taking anything from pg_restore: there is one, and a connection has
    /// nothing to do.
    pub(super) fn has_time(&self) -> bool {
        !self.ready.is_empty() && self.running.len() < self.jobs
    }

    /// The next table that nothing will touch again.
    pub(super) fn take(&mut self) -> Option<usize> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RestoreStep::{Finished, Launched};
    use proptest::prelude::*;

    /// Tables `t` and `u`, as pg_dump writes them: 1 and 2 are the tables, 11 and 12 their rows, 21 the key of `t`, 22 an index
    /// of `u`, 23 its foreign key to `t`, 24 statistics of `t`.
    fn two_tables() -> (Work, Vec<TableFacts>) {
        let table = |table: &str| TableFacts { schema: "public".to_owned(), table: table.to_owned(), rows: 1, bytes: 0 };
        let name = |table: &str| ("public".to_owned(), table.to_owned());
        let data = HashMap::from([(name("t"), vec![11, 1]), (name("u"), vec![12, 2])]);
        let after = vec![(21, vec![1]), (22, vec![2]), (23, vec![2, 21]), (24, vec![1])];
        (Work { data, after, event_triggers: false }, vec![table("t"), table("u"), table("not in the archive")])
    }

    fn ready_after(work: &Work, tables: &[TableFacts], finished: &[i64]) -> Vec<usize> {
        let mut follower = FinishedTables::new(work, tables, 2);
        finished.iter().for_each(|entry| follower.step(Finished(*entry)));
        std::iter::from_fn(|| follower.take()).collect()
    }

    #[test]
    fn a_table_waits_for_its_rows_its_indexes_and_the_keys_to_it() {
        let (work, tables) = two_tables();
        assert_eq!(ready_after(&work, &tables, &[11, 21, 24, 12, 22]), Vec::<usize>::new());
        assert_eq!(ready_after(&work, &tables, &[12, 22, 21, 23]), [1]);
        assert_eq!(ready_after(&work, &tables, &[11, 21, 24, 12, 22, 23]), [0, 1]);
    }

    #[test]
    fn it_is_looked_at_when_a_connection_has_nothing_to_do() {
        let (work, tables) = two_tables();
        let mut follower = FinishedTables::new(&work, &tables, 2);
        [12, 22, 21, 23].into_iter().for_each(|entry| follower.step(Finished(entry)));
        assert!(follower.has_time());
        [Launched(11), Launched(24)].into_iter().for_each(|step| follower.step(step));
        assert!(!follower.has_time());
        assert_eq!(follower.filled(), 1);
        follower.step(Finished(24));
        assert!(follower.has_time());
        assert_eq!(follower.take(), Some(1));
        assert!(!follower.has_time(), "nothing is left to look at");
    }

    #[test]
    fn where_triggers_run_at_commands_no_table_is_done_before_the_end() {
        let (work, tables) = two_tables();
        assert_eq!(ready_after(&Work { event_triggers: true, ..work }, &tables, &[11, 12, 21, 22, 23, 24]), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn a_table_comes_once_and_never_before_all_that_it_waits_for(steps in proptest::collection::vec((any::<bool>(), prop_oneof![Just(11), Just(12), 21i64..25]), 0..30)) {
            let (work, tables) = two_tables();
            let mut follower = FinishedTables::new(&work, &tables, 2);
            let (mut done, mut seen) = (HashSet::new(), Vec::new());
            for (finished, entry) in steps {
                follower.step(if finished { Finished(entry) } else { Launched(entry) });
                done.extend(finished.then_some(entry));
                while let Some(table) = follower.take() {
                    let needs: &[i64] = if table == 0 { &[11, 21, 23, 24] } else { &[12, 22, 23] };
                    prop_assert!(needs.iter().all(|need| done.contains(need)), "{table} after {done:?}");
                    prop_assert!(!seen.contains(&table));
                    seen.push(table);
                }
            }
            let whole = [&[11i64, 21, 23, 24][..], &[12, 22, 23]].iter().filter(|needs| needs.iter().all(|need| done.contains(need))).count();
            prop_assert_eq!(seen.len(), whole);
        }
    }
}

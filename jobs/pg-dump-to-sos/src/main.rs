//! `pg-dump-to-sos`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use pg_dump_to_sos::{Args, Command, JOB, TEMPLATES_JOB, check, check_templates, escrow, execute, execute_templates};
use plana_harness::Harness;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.templates {
        let harness = Harness::new(TEMPLATES_JOB, &args.common).backup_into("store.templates.url", &args.backup, "dump.jobs");
        return match args.command {
            None => harness.run(move |context| execute_templates(context, args.clone())),
            Some(Command::Check(asked)) => harness.check(asked, check_templates),
            Some(Command::Escrow) => harness.by_hand().run(escrow),
        };
    }
    let harness = Harness::new(JOB, &args.common).backup(&args.backup, "dump.jobs").overrides(args.overrides());
    match args.command {
        None => harness.run(move |context| execute(context, args.clone())),
        Some(Command::Check(asked)) => harness.check(asked, check),
        Some(Command::Escrow) => harness.by_hand().run(escrow),
    }
}

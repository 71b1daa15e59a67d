//! A job that does nothing, as its arguments say: what the end-to-end tests run, and how to look at
//! bars, logs and tables without a server.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use plana_harness::{
    BackupArgs, CheckLine, CommonArgs, Context, Event, Failure, Harness, ItemReport, Measured, Outcome, PreflightArgs, VERSION, help_footer,
};
use plana_plan::{Area, Stamp};
use serde_json::json;

/// The part that it plays: the configuration knows the suite's jobs only.
const PART: &str = "pg-dump-to-sos";

#[derive(Clone, Parser)]
#[command(name = "rehearsal", version = VERSION, about = "Does nothing, as it is told", after_help = help_footer("  rehearsal --item acme=done"))]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    backup: BackupArgs,
    /// An item and what becomes of it: done, failed, locked, gone, fresh
    #[arg(long, value_parser = item)]
    item: Vec<(String, Outcome)>,
    /// How long each item takes
    #[arg(long, default_value = "0")]
    each_ms: u64,
    /// How much each item is
    #[arg(long, default_value = "1000000")]
    bytes: u64,
    /// What becomes of the whole run after its items: failed, refused, panic
    #[arg(long)]
    then: Option<String>,
    /// Does not listen to cancellation
    #[arg(long)]
    stubborn: bool,
    /// Is written when the job cleans up
    #[arg(long)]
    clean_up: Option<PathBuf>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Changes nothing and says what it found
    Check(PreflightArgs),
}

fn item(text: &str) -> Result<(String, Outcome), String> {
    let (name, outcome) = text.rsplit_once('=').ok_or("write NAME=OUTCOME")?;
    let outcome = Outcome::ALL.into_iter().find(|known| known.as_str() == outcome).ok_or("no such outcome")?;
    Ok((name.to_owned(), outcome))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let harness = Harness::new(PART, &args.common).backup(&args.backup, "dump.jobs");
    match args.command {
        None => harness.run(move |ctx| rehearse(ctx, args.clone())),
        Some(Command::Check(asked)) => harness.check(asked, preflight),
    }
}

#[expect(clippy::panic, reason = "the defect is what is rehearsed")]
async fn rehearse(ctx: Context, args: Args) -> Result<(), Failure> {
    let selection = args.backup.selection();
    ctx.report().saw_all(&selection);
    ctx.progress().expect("items", args.item.len() as u64);
    ctx.events().send(Event::about("rehearsal.begun", "rehearsal", json!({ "items": args.item.len() })));
    for (name, outcome) in args.item.iter().filter(|(name, _)| selection.takes(name)) {
        let item = one(&ctx, &args, name, *outcome).await;
        ctx.report().item(item);
    }
    if ctx.cancel().is_cancelled()
        && let Some(path) = &args.clean_up
    {
        std::fs::write(path, "clean").map_err(|error| Failure::failed(format!("clean up: {error}")))?;
    }
    match args.then.as_deref() {
        Some("failed") => Err(Failure::failed("reach the server: it is away")),
        Some("refused") => Err(Failure::refused("delete everything: that is the point of the guard rail")),
        Some("panic") => panic!("a rehearsed defect"),
        _ => Ok(()),
    }
}

async fn one(ctx: &Context, args: &Args, name: &str, outcome: Outcome) -> ItemReport {
    let begun = std::time::Instant::now();
    let outcome = if ctx.dry_run() && outcome == Outcome::Done { Outcome::Planned } else { outcome };
    if ctx.cancel().is_cancelled() && !args.stubborn {
        return ItemReport::new(Area::Pg, name, Outcome::Cancelled);
    }
    let progress = ctx.progress().start(name, Some(args.bytes));
    const STEPS: u64 = 50;
    for _ in 0..STEPS {
        tokio::time::sleep(Duration::from_millis(args.each_ms) / STEPS as u32).await;
        progress.add_in(args.bytes / STEPS);
        if ctx.cancel().is_cancelled() && !args.stubborn {
            return ItemReport::new(Area::Pg, name, Outcome::Cancelled).took(begun.elapsed());
        }
    }
    let item = ItemReport::new(Area::Pg, name, outcome).field("class", "tenant").field("tier", "pro").field("rows", args.bytes / 7);
    match outcome {
        Outcome::Done => {
            item.key(format!("pg/{name}/set")).sizes(args.bytes / 4, args.bytes).newest(Stamp::new(ctx.started_at())).took(begun.elapsed())
        }
        Outcome::Failed => ItemReport { error: Some(format!("dump {name}: the server closed the connection; look at its log")), ..item },
        _ => item,
    }
}

async fn preflight(ctx: Context) -> Result<Vec<CheckLine>, Failure> {
    Ok(vec![
        CheckLine::ok("server", "15.9, up"),
        CheckLine::warning("store rights", "the key may delete", "give it put and list only").measured(Measured::NeedlessRights(1)),
        CheckLine::problem("database acme", format!("{} cannot connect", ctx.job()), "run:\n  GRANT CONNECT ON DATABASE acme TO backup;"),
    ])
}

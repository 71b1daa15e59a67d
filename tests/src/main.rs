//! `plana-manuals DIR`: manual pages and shell completions of all jobs, from the definitions that their command lines have.
#![allow(clippy::print_stderr, reason = "a tool of the build speaks to whoever builds")]

use std::{fs, io, path::Path, process::ExitCode};

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: plana-manuals DIR");
        return ExitCode::from(2);
    };
    let directory = Path::new(&directory);
    match plana_scenarios::jobs().into_iter().try_for_each(|job| write(&job, directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to write into {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

/// A page for the job and for each of its subcommands, and its completions for three shells.
fn write(job: &Command, directory: &Path) -> io::Result<()> {
    let pages = directory.join("man1");
    fs::create_dir_all(&pages)?;
    let name = job.get_name().to_owned();
    page(job.clone(), &name, &pages)?;
    let mut built = job.clone();
    built.build();
    for subcommand in built.get_subcommands().filter(|one| one.get_name() != "help") {
        page(subcommand.clone(), &format!("{name}-{}", subcommand.get_name()), &pages)?;
    }
    for (shell, place) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let place = directory.join(place);
        fs::create_dir_all(&place)?;
        generate_to(shell, &mut job.clone(), &name, &place)?;
    }
    Ok(())
}

fn page(command: Command, name: &str, pages: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    // Without a date, so that the same source makes the same page.
    Man::new(command).title(name.to_uppercase()).section("1").source("plana-jobs").manual("User commands").render(&mut text)?;
    fs::write(pages.join(format!("{name}.1")), text)
}

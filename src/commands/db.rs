//! `jct db`: the database as a whole, for those who run JCT.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};

use super::trust::KeyArgs;
use crate::domain::shown::{plain, plain_lines};
use crate::signing::{PublicKey, SignatureProblem, public_keys, verify_as};
use crate::store::{
    Check, Database, DatabaseUrl, EXPORT_TYPE, Signature, Signer, StoreSettings, TransferError, Transferred, Trust,
};

/// Arguments of `jct db`.
#[derive(Args, Clone, Debug)]
pub struct DbArgs {
    /// Where the record is kept
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "sqlite:///var/lib/jct/jct.db",
        hide_env_values = true,
        global = true
    )]
    pub database_url: String,

    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum DbCommand {
    /// Bring the schema up to date, as every start of the operator does
    Migrate,
    /// Look for damage: schema, file, audit log, rows that cannot be read. Changes nothing
    Check,
    /// Give free space back. SQLite's file is written anew, for which the operator must be stopped
    Compact,
    /// Write all of the record as lines of JSON, while the operator may go on
    Export(Box<ExportArgs>),
    /// Read an export into an empty database of either kind. If it breaks off, the same command goes on with it
    Import(Box<ImportArgs>),
}

#[derive(Args, Clone, Debug)]
struct ExportArgs {
    /// A new file; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,

    /// Go on with an export to the file that broke off
    #[arg(long)]
    resume: bool,

    /// Sign it not, though there is a key
    #[arg(long)]
    unsigned: bool,

    #[command(flatten)]
    trust: KeyArgs,
}

#[derive(Args, Clone, Debug)]
struct ImportArgs {
    /// The export; - is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,

    /// Believe the public key with this id, which travels with the export: compare it with `jct keys show` of the installation that
    /// the export comes from. Can be repeated
    #[arg(long, value_name = "KEY-ID", conflicts_with = "keys")]
    trust_key: Vec<String>,

    /// Take an export that is not signed. Rows and audit log are then held against each other, and against nothing else: whoever
    /// had the export in hand can have changed both
    #[arg(long)]
    allow_unsigned: bool,

    /// Take rows that do not follow from the audit log that comes with them. An entry of the audit log tells which they were, and
    /// who asked; `jct db check` goes on naming them
    #[arg(long, requires = "by")]
    allow_differences: bool,

    /// Who asks for it: your name, as the audit log is to have it. Nobody vouches for it
    #[arg(long, value_name = "NAME", requires = "allow_differences", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    by: Option<String>,

    #[command(flatten)]
    trust: KeyArgs,
}

/// Does what is asked. An error if the database is damaged, or it could not be done.
///
/// # Errors
/// Each names what to do.
pub async fn run(args: DbArgs) -> anyhow::Result<()> {
    let settings = StoreSettings::new(args.database_url.parse().context("--database-url (DATABASE_URL)")?);
    let opened = match args.command {
        DbCommand::Migrate | DbCommand::Import(_) => Database::open_or_create(&settings).await,
        DbCommand::Check | DbCommand::Export(_) => Database::open_to_read(&settings).await,
        DbCommand::Compact => Database::open(&settings).await,
    };
    let place = settings.url.to_safe_string();
    let mut database = opened.with_context(|| format!("cannot open the database {place} (DATABASE_URL)"))?;
    let done = match args.command {
        DbCommand::Migrate => migrate(&mut database).await,
        DbCommand::Check => check(&mut database).await,
        DbCommand::Compact => compact(&mut database, &settings.url).await,
        DbCommand::Export(args) => export(&mut database, &settings.url, &args).await,
        DbCommand::Import(args) => import(&mut database, &settings.url, &args).await,
    };
    database.close().await;
    done.with_context(|| place)
}

async fn migrate(database: &mut Database) -> anyhow::Result<()> {
    let migrated = database.migrate().await?;
    if migrated.from == migrated.to {
        say(&format!("the schema is of version {} already", migrated.to));
    } else {
        say(&format!("the schema went from version {} to {}", migrated.from, migrated.to));
    }
    Ok(())
}

async fn compact(database: &mut Database, url: &DatabaseUrl) -> anyhow::Result<()> {
    let _sole = match url.lock_file() {
        None => None,
        Some(lock) => {
            let in_use =
                || anyhow!("an operator, or another command, uses the database ({}): stop it first", lock.display());
            Some(url.lock_exclusively().with_context(|| lock.display().to_string())?.ok_or_else(in_use)?)
        }
    };
    let (before, after) = database.compact().await?;
    say(&format!("{} MiB before, {} MiB now", before >> 20, after >> 20));
    Ok(())
}

async fn check(database: &mut Database) -> anyhow::Result<()> {
    let Check { schema, rows, other_tables, audit_head, problems, problems_left_out } = database.check().await?;
    let mut out = io::stdout().lock();
    writeln!(out, "schema: version {schema}")?;
    for (table, count) in rows {
        writeln!(out, "{table}: {count} rows")?;
    }
    for table in other_tables {
        writeln!(out, "{}: not JCT's, left alone", plain(&table))?;
    }
    if let Some(head) = audit_head {
        writeln!(out, "audit log: intact, head {head}")?;
    }
    for problem in &problems {
        writeln!(out, "PROBLEM {}", plain(problem))?;
    }
    match problems.len() as u64 + problems_left_out {
        0 => Ok(writeln!(out, "no problem found")?),
        count => bail!("{count} problems found, {} shown", problems.len()),
    }
}

async fn export(database: &mut Database, url: &DatabaseUrl, args: &ExportArgs) -> anyhow::Result<()> {
    let ring = if args.unsigned { None } else { args.trust.signing(url).await };
    let checkpoints = if ring.is_some() { args.trust.anchors(url).await?.checkpoints } else { Vec::new() };
    let sign = ring.as_ref().map(|ring| |payload: &[u8]| ring.signing().sign_as(EXPORT_TYPE, payload));
    let signer = ring.as_ref().zip(sign.as_ref()).map(|(ring, sign)| Signer {
        sign,
        keys: ring.to_jwks(),
        checkpoints: &checkpoints,
    });
    let signer = signer.as_ref();
    let exported = match (is_standard(&args.output), args.resume) {
        (true, true) => bail!("--resume needs the file: --output FILE"),
        (true, false) => database.export(&mut BufWriter::new(io::stdout().lock()), signer).await?,
        (false, resume) => {
            let mut file = open(&args.output, resume)?;
            let exported = if resume {
                database.resume_export(&mut file, signer).await
            } else {
                database.export(&mut BufWriter::new(&mut file), signer).await
            };
            let exported = exported.map_err(|error| to_go_on(error, &args.output))?;
            file.sync_all().with_context(|| args.output.display().to_string())?;
            exported
        }
    };
    report_transfer("exported", &exported);
    match &ring {
        Some(ring) => say(&format!("signed by key {}", ring.signing().public().id())),
        None => say(
            "it is NOT signed, and an import takes it with --allow-unsigned alone: no signing key is within reach here",
        ),
    }
    Ok(())
}

/// The file to export to: the record is for its owner alone to read.
fn open(file: &Path, resume: bool) -> anyhow::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create_new(!resume).mode(0o600).open(file);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            anyhow!("{} is there: go on with it by --resume, or remove it", file.display())
        }
        _ => anyhow!("{}: {error}", file.display()),
    })
}

fn to_go_on(error: TransferError, file: &Path) -> anyhow::Error {
    match error {
        TransferError::Store(_) | TransferError::Io(_) => {
            anyhow::Error::from(error).context(format!("broken off; go on by --output {} --resume", file.display()))
        }
        error => anyhow::Error::from(error).context(file.display().to_string()),
    }
}

async fn import(database: &mut Database, url: &DatabaseUrl, args: &ImportArgs) -> anyhow::Result<()> {
    // A key that is confirmed by its id is believed, and no other.
    let (keys, _) = if args.trust_key.is_empty() { args.trust.public(url).await? } else { (Vec::new(), None) };
    let verify = |signature: &Signature| verified(signature, &keys, &args.trust_key);
    let by = args.by.as_deref().filter(|_| args.allow_differences);
    let trust = Trust { verify: &verify, allow_unsigned: args.allow_unsigned, allow_differences: by };
    let imported = if is_standard(&args.input) {
        database.import(&mut io::stdin().lock(), &trust).await
    } else {
        let file = File::open(&args.input).with_context(|| args.input.display().to_string())?;
        database.import(&mut BufReader::new(file), &trust).await
    };
    let imported = imported?;
    match imported.differences {
        0 => report_transfer("imported and verified", &imported),
        count => {
            report_transfer("imported", &imported);
            say(&format!(
                "its rows do NOT follow from its audit log, in {count} places: the last entry tells which, and who asked to take \
                 them (jct audit --kind Database)"
            ));
        }
    }
    Ok(())
}

/// What was signed, by one of `keys`, or by one that travels along and whose id is among `confirmed`.
fn verified(signature: &Signature, keys: &[PublicKey], confirmed: &[String]) -> Result<Vec<u8>, String> {
    let Signature { envelope, keys: travelling } = signature;
    let travelling = travelling.as_ref().and_then(|keys| public_keys(keys.to_string().as_bytes()).ok());
    let travelling = travelling.unwrap_or_default().into_iter().filter(|key| confirmed.contains(&key.id()));
    let believed: Vec<PublicKey> = keys.iter().cloned().chain(travelling).collect();
    let signed = verify_as(EXPORT_TYPE, envelope, &believed);
    signed.map(|(payload, _)| payload).map_err(|problem| match problem {
        SignatureProblem::UnknownKey(id) => format!(
            "it is signed by key {id}, which is none of those to be believed: name the public keys of the installation that it \
             comes from by --keys FILE (`jct keys show` there), or confirm the key by --trust-key {id}, once you have compared it \
             with `jct keys show`"
        ),
        problem => problem.to_string(),
    })
}

fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// On standard error, for the export may be on standard output.
fn report_transfer(what: &str, transferred: &Transferred) {
    let Transferred { rows, audit_head, resumed_after, differences: _ } = transferred;
    let total: u64 = rows.values().sum();
    let tables: Vec<String> =
        rows.iter().filter(|(_, count)| **count > 0).map(|(table, count)| format!("{table} {count}")).collect();
    let resumed = if *resumed_after > 0 { format!(", {resumed_after} of them earlier") } else { String::new() };
    say(&format!("{what}: {total} rows{resumed} ({}); audit head {audit_head}", tables.join(", ")));
}

fn say(text: &str) {
    eprintln!("jct db: {}", plain_lines(text));
}

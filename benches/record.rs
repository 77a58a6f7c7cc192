//! What the record of ordinary Tasks takes, and how its main queries fare as it grows. `cargo bench --bench record`.
//!
//! On SQLite in a temporary folder (`JCT_BENCH_FOLDER` says where), or on the empty PostgreSQL database of `JCT_BENCH_DATABASE_URL`.
//! First bytes by table and column, of Tasks that are only queued and of Tasks that lived; then the times at each size of
//! `JCT_BENCH_SIZES` (`10000`, or such as `10000,100000,1000000`). What goes beyond `JCT_BENCH_REAL` Tasks (10,000) are copies of them
//! under other ids, made by SQL: as large, and as scattered, but no chain.

#[path = "record/bytes.rs"]
mod bytes;
#[path = "record/copies.rs"]
mod copies;
#[path = "record/life.rs"]
mod life;
#[path = "record/queries.rs"]
mod queries;

use std::env;
use std::time::Instant;

use jct::store::{Store, StoreSettings};

use life::{Life, live};

/// Callers at once.
const CALLERS: usize = 64;
/// Tasks that bytes are measured of.
const MEASURED: usize = 2_000;

fn main() -> anyhow::Result<()> {
    let folder = match env::var_os("JCT_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match env::var("JCT_BENCH_DATABASE_URL") {
            Ok(url) => grow(&url).await,
            Err(_) => {
                let url = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
                measure(&url("queued.db"), Life::Queued).await?;
                measure(&url("whole.db"), Life::Whole).await?;
                grow(&url("grown.db")).await
            }
        }
    })
}

/// Bytes of Tasks that lived so far.
async fn measure(url: &str, life: Life) -> anyhow::Result<()> {
    let store = Store::open(&StoreSettings::new(url.parse()?)).await?;
    live(&store, life, 0..MEASURED, CALLERS).await?;
    store.close().await;
    println!("\n{MEASURED} Tasks, {}:", life.describe());
    bytes::print(url, MEASURED).await
}

async fn grow(url: &str) -> anyhow::Result<()> {
    let sizes = env::var("JCT_BENCH_SIZES").unwrap_or_else(|_| "10000".into());
    let sizes = sizes.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let real = env::var("JCT_BENCH_REAL").map_or(Ok(10_000), |real| real.parse::<usize>())?;
    let mut there = 0;
    for size in sizes {
        let began = Instant::now();
        let store = Store::open(&StoreSettings::new(url.parse()?)).await?;
        live(&store, Life::Whole, there..size.min(real), CALLERS).await?;
        store.close().await;
        there = there.max(size.min(real));
        if size > there {
            copies::add(url, there / real..size / real).await?;
            there = size;
        }
        println!("\n{size} Tasks, filled in {:.0?}:", began.elapsed());
        match url.starts_with("postgres") && there <= real {
            true => bytes::print(url, size).await?,
            false => bytes::print_totals(url, size).await?,
        }
        queries::time(url, real).await?;
    }
    Ok(())
}

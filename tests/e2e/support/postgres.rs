//! A PostgreSQL server that the pods can reach, and that can be taken away from them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::setting;

const PORT: u16 = 5432;
const STOP: &str = "pg_ctl --pgdata=$FOLDER/data --mode=immediate --wait stop";

/// A server in the cluster's network, with nothing in it; gone with this.
pub struct Postgres {
    programs: PathBuf,
    folder: String,
    address: String,
}

impl Postgres {
    pub fn new() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let mut programs: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
        programs.sort();
        let index = fs::read_to_string(format!("{}/index", setting("JCT_E2E_STATE"))).unwrap();
        let mut postgres = Self {
            programs: programs.pop().expect("no PostgreSQL server is installed"),
            folder: String::new(),
            address: format!("10.213.{}.2", index.trim()),
        };
        postgres.folder = postgres.run("mktemp -d").trim().to_owned();
        postgres
            .run("initdb --pgdata=$FOLDER/data --username=jct --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync");
        postgres.run("echo 'host all all all trust' >>$FOLDER/data/pg_hba.conf");
        postgres.start();
        postgres.run("createdb --host=$FOLDER --username=jct jct");
        postgres
    }

    /// For `DATABASE_URL`.
    pub fn url(&self) -> String {
        format!("postgres://jct@{}:{PORT}/jct?sslmode=disable", self.address)
    }

    /// Starts it, again.
    pub fn start(&self) {
        let options = format!(
            "-c listen_addresses={} -c port={PORT} -c unix_socket_directories=$FOLDER -c fsync=off",
            self.address
        );
        self.run(&format!("pg_ctl --pgdata=$FOLDER/data --log=$FOLDER/log --wait --options=\"{options}\" start"));
    }

    /// Ends it at once, as a crash would: who is connected hears of it, who connects is refused.
    pub fn stop(&self) {
        self.run(STOP);
    }

    /// It answers nobody any more, and breaks no connection.
    pub fn freeze(&self) {
        self.run(&signal("STOP"));
    }

    /// It goes on as if nothing had been.
    pub fn thaw(&self) {
        self.run(&signal("CONT"));
    }

    /// The one number that a query finds.
    pub async fn count(&self, sql: &'static str, parameter: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        sqlx::query(sql).bind(parameter).fetch_one(&mut connection).await.unwrap().get(0)
    }

    /// Runs a script, which must succeed, as the user that the server demands, where the pods are; its output.
    fn run(&self, script: &str) -> String {
        self.try_to_run(script).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    fn try_to_run(&self, script: &str) -> Result<String, String> {
        let network = format!("--net=/run/netns/jct-{}", setting("JCT_E2E_CLUSTER"));
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap());
        let output = Command::new("nsenter")
            .arg(network)
            .args(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-euc", script])
            .current_dir("/")
            .env("FOLDER", &self.folder)
            .env("PATH", path)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be frozen or gone.
        let _ = self.try_to_run(&signal("CONT"));
        let _ = self.try_to_run(STOP);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A script that sends the signal to the server and to the processes that serve its connections.
fn signal(signal: &str) -> String {
    format!("server=$(head -n 1 $FOLDER/data/postmaster.pid); kill -{signal} $server $(pgrep --parent $server)")
}

//! Who is granted what.

use super::{Defaults, ExecutorModel, Grant, Limits, Models, WhenUsedUp};
use crate::executor::{Executor, Executors};
use crate::name::names_namespace;
use crate::task::{Operation, Repo, TaskModel};
use crate::{Code, Finding, Naming, id};

/// What an attempt is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The models that it may ask, as the executor orders them. Not empty.
    pub aliases: Vec<String>,
    /// How much it, and all attempts at its Task together, may use up.
    pub limits: Limits,
    /// Names the grant: the same as long as who is granted what stays the same.
    pub grant: String,
    /// How much all namespaces of the grant may use up together on a day.
    pub of_the_grant: Limits,
    /// How much this namespace may.
    pub of_the_namespace: Limits,
    /// For how many seconds somebody is asked for more when the budget is used up; nobody is where there are none.
    pub asks_for_seconds: Option<u32>,
    /// The rest.
    pub defaults: Defaults,
}

/// Nothing is granted of what an executor may ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the executor {executor} asks models ({}), none of which is granted to namespace {namespace} and repository {repo}: a grant of \
     the operator's configuration of models names namespaces, repositories and aliases",
    .aliases.join(", ")
)]
pub struct NotGranted {
    executor: String,
    aliases: Vec<String>,
    namespace: String,
    repo: String,
}

impl Grant {
    fn is_of(&self, namespace: &str, repo: &Repo) -> bool {
        names_namespace(&self.namespaces, namespace)
            && self.repos.iter().any(|prefix| repo.as_str().starts_with(prefix))
    }

    /// A name that does not change with its limits, so that what is used up stays used up.
    fn name(&self) -> String {
        let Self { namespaces, repos, aliases, .. } = self;
        let whom = serde_json::to_vec(&(namespaces, repos, aliases)).unwrap_or_default();
        id::sha256_hex(&whom).chars().take(12).collect()
    }
}

impl Models {
    /// What a Task for `repo` in `namespace` is granted of the models that `executor` may ask; `None` if that asks none. By the
    /// first grant that has one of them.
    ///
    /// # Errors
    /// [`NotGranted`].
    pub fn granted(
        &self,
        executor: &Executor,
        wanted: Option<&TaskModel>,
        namespace: &str,
        repo: &Repo,
    ) -> Result<Option<Granted>, NotGranted> {
        let not_granted = |aliases: &[String]| NotGranted {
            executor: executor.name.clone(),
            aliases: aliases.to_vec(),
            namespace: namespace.into(),
            repo: repo.as_str().into(),
        };
        let asks = match (&executor.model, wanted) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(not_granted(&[])),
            (Some(asks), _) => asks,
        };
        let is_wanted =
            |alias: &&String| wanted.and_then(|wanted| wanted.alias.as_ref()).is_none_or(|named| named == *alias);
        let has = |grant: &Grant, alias: &String| {
            grant.aliases.contains(alias) && self.models.iter().any(|model| model.alias == *alias)
        };
        for grant in self.grants.iter().filter(|grant| grant.is_of(namespace, repo)) {
            let aliases = asks.aliases.iter().filter(is_wanted).filter(|alias| has(grant, alias));
            let aliases: Vec<String> = aliases.cloned().collect();
            if !aliases.is_empty() {
                let granted = self.grant(grant, asks, aliases);
                return Ok(Some(Granted { limits: lowered(granted.limits, wanted), ..granted }));
            }
        }
        Err(not_granted(&asks.aliases))
    }

    fn grant(&self, grant: &Grant, asks: &ExecutorModel, aliases: Vec<String>) -> Granted {
        let mut defaults = self.defaults;
        defaults.max_in_flight = asks.max_in_flight.unwrap_or(defaults.max_in_flight);
        let of_the_grant = Limits { usd: grant.max_usd_per_day, tokens: grant.max_tokens_per_day, requests: None };
        let of_the_namespace = Limits { usd: grant.max_usd_per_day_each_namespace, tokens: None, requests: None };
        // What the executor says comes in the place of the default, which may be lower.
        let limits = Limits {
            usd: asks.max_usd.or(defaults.max_usd),
            tokens: asks.max_tokens.or(defaults.max_tokens),
            requests: asks.max_requests.or(defaults.max_requests),
        };
        let asks_for_seconds = (grant.when_used_up == WhenUsedUp::Ask).then_some(grant.max_wait_seconds);
        Granted { aliases, limits, grant: grant.name(), of_the_grant, of_the_namespace, asks_for_seconds, defaults }
    }
}

/// What a Task asks for, where that is less.
fn lowered(limits: Limits, wanted: Option<&TaskModel>) -> Limits {
    let Some(TaskModel { alias: _, max_usd: usd, max_tokens: tokens }) = wanted else { return limits };
    limits.lowered_by(Limits { usd: *usd, tokens: *tokens, requests: None })
}

/// What the gate finds on a Task whose executor asks models, or that names one: nothing if there is no such executor, for it may come
/// yet.
pub fn findings(
    models: &Models,
    executors: &Executors,
    (namespace, repo, operation): (&str, &Repo, Operation),
    (named, wanted): (Option<&str>, Option<&TaskModel>),
    naming: Naming,
) -> Vec<Finding> {
    let Ok(executor) = executors.resolve(namespace, operation, named) else { return Vec::new() };
    // By the executor alone first: what the Task says besides can only be less.
    let without = models.granted(executor, None, namespace, repo);
    let field = match (&without, wanted) {
        (Ok(None), Some(_)) => "model",
        (Ok(Some(_)), Some(_)) => "model.alias",
        _ => "executor",
    };
    let granted = match models.granted(executor, wanted, namespace, repo) {
        Err(error) => {
            let message = match wanted.and_then(|wanted| wanted.alias.as_ref()).filter(|_| field == "model.alias") {
                Some(alias) => format!("{alias:?} is none of these, or not granted: {error}"),
                None => error.to_string(),
            };
            return vec![Finding::new(Code::ModelNotAllowed, naming.path(field), message)];
        }
        Ok(granted) => granted,
    };
    let (Some(_), Ok(Some(without)), Some(wanted)) = (granted, without, wanted) else { return Vec::new() };
    too_high(wanted, &without, naming)
}

/// A Task asks for less than its executor and its grant have, or as much.
fn too_high(wanted: &TaskModel, granted: &Granted, naming: Naming) -> Vec<Finding> {
    let most = granted.limits.lowered_by(granted.of_the_grant);
    let fields = [
        (
            "model.max_usd",
            wanted.max_usd.zip(most.usd).filter(|(wanted, most)| wanted > most).map(|(_, most)| most.to_string()),
        ),
        (
            "model.max_tokens",
            wanted.max_tokens.zip(most.tokens).filter(|(wanted, most)| wanted > most).map(|(_, most)| most.to_string()),
        ),
    ];
    let finding = |(field, most): (&str, Option<String>)| {
        let message = format!("is more than the executor and its grant have: {}", most?);
        Some(Finding::new(Code::BudgetTooHigh, naming.path(field), message))
    };
    fields.into_iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::Usd;

    const MODELS: &str = r#"
providers: [{name: a, dialect: anthropic, url: "https://api.example", key: {secret: models, key: a}}]
models:
  - {alias: small, provider: a, model: tiny-1, usd_per_million: {input: 1, output: 5}}
  - {alias: large, provider: a, model: huge-1, usd_per_million: {input: 3, output: 15}}
grants:
  - {namespaces: ["team-*"], repos: [octo/], aliases: [small], max_usd_per_day: 20, max_usd_per_day_each_namespace: 5, when_used_up: ask, max_wait_seconds: 600}
  - {namespaces: ["*"], repos: [octo/hello], aliases: [small, large], unlimited: true}
defaults: {max_usd: 2, max_tokens: 1000000}
"#;

    fn executors() -> Executors {
        let yaml = "executors:\n  - {name: agent, operations: [ops], image: a, command: [a], \
                    model: {aliases: [large, small], maxUsd: 3, maxInFlight: 2}}";
        Executors::read(yaml).unwrap()
    }

    fn granted(namespace: &str, repo: &str) -> Result<Option<Granted>, NotGranted> {
        let executors = executors();
        let executor = executors.resolve(namespace, Operation::Ops, Some("agent")).unwrap();
        Models::read(MODELS).unwrap().granted(executor, None, namespace, &Repo::parse(repo).unwrap())
    }

    #[test]
    fn the_first_grant_that_has_a_model_counts() {
        let dollars = |dollars| Usd::from_dollars(dollars);
        let of_a_team = granted("team-a", "octo/hello").unwrap().unwrap();
        assert_eq!(of_a_team.aliases, ["small"]);
        assert_eq!(of_a_team.limits, Limits { usd: dollars(3.0), tokens: Some(1_000_000), requests: None });
        assert_eq!((of_a_team.of_the_grant.usd, of_a_team.of_the_namespace.usd), (dollars(20.0), dollars(5.0)));
        assert_eq!((of_a_team.defaults.max_in_flight, of_a_team.asks_for_seconds), (2, Some(600)));
        let of_others = granted("shop", "octo/hello").unwrap().unwrap();
        assert_eq!(
            (of_others.aliases.as_slice(), of_others.of_the_grant.usd),
            (&["large", "small"].map(String::from)[..], None)
        );
        assert_ne!(of_others.grant, of_a_team.grant);
        assert_eq!(of_others.asks_for_seconds, None);
    }

    #[test]
    fn a_grant_keeps_its_accounts_when_its_limits_change() {
        let raised = MODELS.replace("max_usd_per_day: 20", "max_usd_per_day: 40");
        let name = |yaml: &str| Models::read(yaml).unwrap().grants[0].name();
        assert_eq!(name(MODELS), name(&raised));
        assert_ne!(name(MODELS), name(&MODELS.replace("team-*", "group-*")));
    }

    #[rstest]
    #[case("team-a", "octo/other", Some("agent"), None)]
    #[case(
        "shop",
        "octo/other",
        Some("agent"),
        Some("none of which is granted to namespace shop and repository octo/other")
    )]
    #[case("shop", "evil/hello", Some("agent"), Some("large, small"))]
    // One that asks no models, and one that is not there.
    #[case("shop", "evil/hello", None, None)]
    #[case("shop", "evil/hello", Some("nobody"), None)]
    fn what_is_not_granted_is_told(
        #[case] namespace: &str,
        #[case] repo: &str,
        #[case] named: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let (models, repo) = (Models::read(MODELS).unwrap(), Repo::parse(repo).unwrap());
        let of = (namespace, &repo, Operation::Ops);
        let found = findings(&models, &executors(), of, (named, None), Naming::CustomResource);
        match expected {
            None => assert_eq!(found, []),
            Some(expected) => {
                assert_eq!((found[0].code, found[0].field.as_str()), (Code::ModelNotAllowed, "spec.executor"));
                assert!(found[0].message.contains(expected), "{}", found[0].message);
            }
        }
        // Without a configuration nothing is granted, and who asks nothing needs none.
        let without = findings(&Models::default(), &executors(), of, (named, None), Naming::Rest);
        assert_eq!(
            without.iter().map(|finding| finding.field.as_str()).collect::<Vec<_>>(),
            if named == Some("agent") { vec!["executor"] } else { vec![] }
        );
    }

    #[rstest]
    #[case("agent", Some("small"), None, None, None)]
    #[case("agent", None, Some(3.0), Some(1_000_000), None)]
    #[case("agent", Some("large"), None, None, Some(("MODEL_NOT_ALLOWED", "spec.model.alias")))]
    #[case("agent", Some("other"), None, None, Some(("MODEL_NOT_ALLOWED", "spec.model.alias")))]
    #[case("agent", None, Some(3.01), None, Some(("BUDGET_TOO_HIGH", "spec.model.maxUsd")))]
    #[case("agent", None, None, Some(1_000_001), Some(("BUDGET_TOO_HIGH", "spec.model.maxTokens")))]
    #[case("ops", None, Some(1.0), None, Some(("MODEL_NOT_ALLOWED", "spec.model")))]
    fn a_task_asks_for_less_and_never_for_more(
        #[case] named: &str,
        #[case] alias: Option<&str>,
        #[case] usd: Option<f64>,
        #[case] max_tokens: Option<u64>,
        #[case] expected: Option<(&str, &str)>,
    ) {
        let (models, executors, repo) = (Models::read(MODELS).unwrap(), executors(), Repo::parse("octo/x").unwrap());
        let max_usd = usd.and_then(Usd::from_dollars);
        let wanted = TaskModel { alias: alias.map(Into::into), max_usd, max_tokens };
        let of = ("team-a", &repo, Operation::Ops);
        let found = findings(&models, &executors, of, (Some(named), Some(&wanted)), Naming::CustomResource);
        let found: Vec<_> = found.iter().map(|finding| (finding.code.as_str(), finding.field.as_str())).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        if expected.is_none() {
            let executor = executors.resolve("team-a", Operation::Ops, Some(named)).unwrap();
            let granted = models.granted(executor, Some(&wanted), "team-a", &repo).unwrap().unwrap();
            assert_eq!(granted.aliases, ["small"]);
            assert!(granted.limits.usd <= Usd::from_dollars(3.0) && granted.limits.tokens <= Some(1_000_000));
            let low = TaskModel { max_usd: Usd::from_dollars(0.5), ..wanted };
            let granted = models.granted(executor, Some(&low), "team-a", &repo).unwrap().unwrap();
            assert_eq!(granted.limits.usd, Usd::from_dollars(0.5));
        }
    }
}

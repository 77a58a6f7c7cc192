//! How the two doors write field names (contract, "Case").

/// How field names are written: custom resources use camelCase, REST bodies snake_case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The spec of a custom resource: paths begin with `spec.`.
    CustomResource,
    Rest,
}

impl Naming {
    /// The field with this snake_case name, as the door writes it.
    pub fn name(self, canonical: &str) -> String {
        match self {
            Self::Rest => canonical.into(),
            Self::CustomResource => camel_case(canonical),
        }
    }

    /// Where paths begin: `spec`, or nothing.
    pub fn root(self) -> &'static str {
        match self {
            Self::CustomResource => "spec",
            Self::Rest => "",
        }
    }

    /// The path of the field with this canonical path, such as `outputs.artifacts[0]`; `spec` or `body` for the whole.
    pub fn path(self, canonical: &str) -> String {
        let names: Vec<String> = canonical.split('.').map(|name| self.name(name)).collect();
        match (self, canonical) {
            (Self::CustomResource, "") => "spec".into(),
            (Self::Rest, "") => "body".into(),
            (Self::CustomResource, _) => format!("spec.{}", names.join(".")),
            (Self::Rest, _) => canonical.into(),
        }
    }
}

fn camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_has_its_own_names() {
        assert_eq!(Naming::CustomResource.path("outputs.decision_log[3]"), "spec.outputs.decisionLog[3]");
        assert_eq!(Naming::CustomResource.path("constraints.energy.score_0_5"), "spec.constraints.energy.score05");
        assert_eq!(Naming::Rest.path("outputs.decision_log[3]"), "outputs.decision_log[3]");
        assert_eq!((Naming::CustomResource.path(""), Naming::Rest.path("")), ("spec".into(), "body".into()));
    }
}

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::choices;
use crate::cwom::Actor;
use crate::cwom::limits::{AMOUNT, META, NOTES, WORDS};
use crate::table::Holds::{self, Choice, Number, Object, Text};
use crate::table::Need::{Empty, Optional, Required};
use crate::table::record;

record! {
    /// What work was done under, at one moment. Never changes: a new fact is a new ConstraintSnapshot.
    pub struct ConstraintSnapshot {
        /// What it holds for.
        scope: Scope = Required, Choice(Scope::NAMES);
        /// When it held; by default when the object was created.
        captured_at: Option<Timestamp> = Optional, Holds::Time;
        /// Whose constraints they are.
        owner: Actor = Required, Object(&Actor::SHAPE);
        /// The constraints.
        constraints: Constraints = Empty, Object(&Constraints::SHAPE);
        /// Words to find it by.
        tags: Vec<String> = Empty, WORDS;
        /// Free-form; `task` holds what only a Task knows.
        meta: Map<String, Value> = Empty, META;
    }
}

record! {
    /// Constraints of every sort; what is unknown is left out.
    pub struct Constraints {
        /// How long.
        time: Time = Empty, Object(&Time::SHAPE);
        /// With how much energy.
        energy: Energy = Empty, Object(&Energy::SHAPE);
        /// In what health.
        health: Health = Empty, Object(&Health::SHAPE);
        /// For how much.
        budget: Budget = Empty, Object(&Budget::SHAPE);
        /// With what.
        tools: Tools = Empty, Object(&Tools::SHAPE);
        /// Where.
        environment: Environment = Empty, Object(&Environment::SHAPE);
        /// At what risk.
        risk: Risk = Empty, Object(&Risk::SHAPE);
    }
}

record! {
    /// How long.
    pub struct Time {
        /// Minutes at hand.
        available_minutes: Option<f64> = Optional, AMOUNT;
        /// The moment by which it must be done.
        deadline: Option<Timestamp> = Optional, Holds::Time;
    }
}

record! {
    /// With how much energy.
    pub struct Energy {
        /// From 0, none, to 5.
        score_0_5: Option<f64> = Optional, Number(0.0, 5.0);
        /// In words.
        notes: Option<String> = Optional, NOTES;
    }
}

record! {
    /// In what health.
    pub struct Health {
        /// What to heed.
        flags: Vec<String> = Empty, WORDS;
        /// In words.
        notes: Option<String> = Optional, NOTES;
    }
}

record! {
    /// For how much.
    pub struct Budget {
        /// Money at hand, in US dollars.
        usd_available: Option<f64> = Optional, AMOUNT;
        /// The most that may be spent, in US dollars.
        burn_limit_usd: Option<f64> = Optional, AMOUNT;
    }
}

record! {
    /// With what.
    pub struct Tools {
        /// Tools that may be used.
        allowed: Vec<String> = Empty, WORDS;
        /// Tools that may not.
        blocked: Vec<String> = Empty, WORDS;
    }
}

record! {
    /// Where.
    pub struct Environment {
        /// The place.
        location: Option<String> = Optional, Text(1, 256);
        /// offline, limited or ok.
        connectivity: Option<Connectivity> = Optional, Choice(Connectivity::NAMES);
        /// The device.
        device: Option<String> = Optional, Text(1, 256);
    }
}

record! {
    /// At what risk.
    pub struct Risk {
        /// low, medium or high.
        tolerance: Option<RiskTolerance> = Optional, Choice(RiskTolerance::NAMES);
        /// In words.
        notes: Option<String> = Optional, NOTES;
    }
}

choices! {
    /// What a ConstraintSnapshot holds for.
    pub enum Scope {
        /// A person.
        Personal = "personal",
        /// A repository.
        Repo = "repo",
        /// An organisation.
        Org = "org",
        /// A system.
        System = "system",
        /// One Run.
        Run = "run",
    }
}

choices! {
    /// Whether there is a network.
    pub enum Connectivity {
        /// None.
        Offline = "offline",
        /// Some.
        Limited = "limited",
        /// As usual.
        Ok = "ok",
    }
}

choices! {
    /// How much risk is acceptable.
    pub enum RiskTolerance {
        /// Hardly any.
        Low = "low",
        /// Some.
        Medium = "medium",
        /// Much.
        High = "high",
    }
}

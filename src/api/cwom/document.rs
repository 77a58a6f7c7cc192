//! The operations of the collections in the OpenAPI document. Their schemas are in [`crate::api::openapi`].

use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, Required};

use super::collection::{Collection, Filter, Part, Takes};
use crate::domain::cwom::Status;

const JSON: &str = "application/json";
/// The form of a ULID.
const ID_PATTERN: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";

/// POST on a collection.
pub fn create(of: &Collection) -> Operation {
    let kind = of.kind;
    let unique = match of.namespace_parameter() {
        "namespace" => "",
        _ => " (`namespace` is the doctrine's own)",
    };
    operation(of, format!("create_{}", kind.snake_case()), format!("Record a new {kind}"))
        .description(Some(format!(
            "Needs the right to `create` {}. It is a row of the record, no custom resource; what it refers to must be there.",
            kind.plural()
        )))
        .parameter(query(of.namespace_parameter(), &format!("Where; JCT_API_NAMESPACE by default{unique}")))
        .parameter(
            ParameterBuilder::new()
                .name("X-Trace-Id")
                .parameter_in(ParameterIn::Header)
                .description(Some("The trace id to use; else that of traceparent, else a new one"))
                .schema(Some(text())),
        )
        .request_body(Some(body(format!("{kind}Spec"))))
        .response("201", response("Recorded; the header Location has its path", format!("{kind}Answer")))
        .response("404", problem("There is no such namespace"))
        .response("409", problem("What must be unique is taken"))
        .response("413", problem("The body is too large"))
        .response("415", problem("The body is no JSON by its Content-Type"))
        .build()
}

/// GET on a collection.
pub fn list(of: &Collection, filters: &[Filter]) -> Operation {
    let name = of.kind.collection().replace('-', "_");
    let parameter = of.namespace_parameter();
    let operation = operation(of, format!("list_{name}"), format!("Objects of the kind {}, the newest first", of.kind))
        .description(Some(format!(
            "Without `{parameter}`, those of all namespaces: for callers who may list {} in all of them.",
            of.kind.plural()
        )))
        .parameter(query(parameter, "In this Kubernetes namespace"));
    let operation = filters.iter().fold(operation, |operation, filter| operation.parameter(narrowing(filter)));
    paged(operation, of).build()
}

/// GET on one object.
pub fn get(of: &Collection) -> Operation {
    operation(of, format!("get_{}", of.kind.snake_case()), format!("One {}", of.kind))
        .parameter(id())
        .response("200", response("The object", of.kind.as_str()))
        .response("404", not_found(of))
        .build()
}

/// GET on a list of one object.
pub fn list_part(of: &Collection, part: &Part) -> Operation {
    let parts = Collection::of(part.kind);
    let name = format!("list_{}_{}", of.kind.snake_case(), parts.kind.collection().replace('-', "_"));
    let summary = format!("The objects of the kind {} that belong to one {}, the newest first", part.kind, of.kind);
    let operation = operation(of, name, summary)
        .description(Some(format!("Needs the right to `list` {} in its namespace, too.", part.kind.plural())))
        .parameter(id());
    let operation = part.filters.iter().fold(operation, |operation, filter| operation.parameter(narrowing(filter)));
    paged(operation, parts).response("404", not_found(of)).build()
}

/// PATCH on one object.
pub fn patch(of: &Collection) -> Operation {
    let kind = of.kind;
    changing(operation(of, format!("patch_{}", kind.snake_case()), format!("Change fields of one {kind}")), of)
        .description(Some(
            "A JSON merge patch (RFC 7396): null restores a default, a list takes the place of the one before. What may \
             not change, or only be added to, is refused.",
        ))
        .request_body(Some(body(format!("{kind}Change"))))
        .response("413", problem("The body is too large"))
        .response("415", problem("The body is no JSON by its Content-Type"))
        .build()
}

/// PATCH on the status of one object.
pub fn set_status(of: &Collection) -> Operation {
    let kind = of.kind;
    let name = format!("set_{}_status", kind.snake_case());
    let status = ParameterBuilder::from(query("status", "What it becomes"))
        .required(Required::True)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Status::NAMES.iter().copied()))));
    changing(operation(of, name, format!("Change the status of one {kind}")), of).parameter(status).build()
}

/// PUT and PATCH on one object that never changes.
pub fn refuse(of: &Collection, verb: &str) -> Operation {
    let kind = of.kind;
    operation(of, format!("{verb}_{}", kind.snake_case()), format!("Refused: a {kind} never changes"))
        .parameter(id())
        .response("405", problem("`IMMUTABILITY_VIOLATION`, whether there is such an object or not"))
        .build()
}

fn operation(of: &Collection, name: String, summary: String) -> OperationBuilder {
    let tag = of.kind.collection().to_owned();
    OperationBuilder::new().tag(tag).operation_id(Some(name)).summary(Some(summary))
}

fn changing(operation: OperationBuilder, of: &Collection) -> OperationBuilder {
    operation
        .parameter(id())
        .response("200", response("The object as it is now", format!("{}Answer", of.kind)))
        .response("404", not_found(of))
        .response(
            "409",
            problem("Its custom resource or its Task says what it is; the message tells where to change it"),
        )
}

fn paged(operation: OperationBuilder, listed: &Collection) -> OperationBuilder {
    let number = |name: &str, description: &str, least: u32, most: Option<u32>| {
        let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(most);
        ParameterBuilder::from(query(name, description)).schema(Some(schema))
    };
    operation
        .parameter(number("limit", "1 to 1000; 100 by default", 1, Some(1000)))
        .parameter(number("offset", "Pass over this many", 0, None))
        .parameter(query("cursor", "From the Link header of the page before"))
        .response(
            "200",
            response("A page; the header Link, rel=\"next\", has the next one", format!("{}s", listed.kind)),
        )
}

fn narrowing(filter: &Filter) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    let (description, schema) = match filter.takes {
        Takes::Choice(names) => ("With this value", schema.enum_values(Some(names.iter().copied()))),
        Takes::Id => ("Of the object with this id", schema.pattern(Some(ID_PATTERN))),
        Takes::Text => ("With this value", schema),
    };
    ParameterBuilder::from(query(filter.name, description)).schema(Some(schema)).build()
}

fn query(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(text()))
        .build()
}

fn id() -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Its ULID"))
        .schema(Some(text()))
        .build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn body(schema: String) -> RequestBody {
    RequestBodyBuilder::new().required(Some(Required::True)).content(JSON, content(schema)).build()
}

fn response(description: &str, schema: impl Into<String>) -> Response {
    ResponseBuilder::new().description(description).content(JSON, content(schema)).build()
}

fn problem(description: &str) -> Response {
    response(description, "Problem")
}

fn not_found(of: &Collection) -> Response {
    problem(&format!("There is no such {}, or none that the caller may get", of.kind))
}

fn content(schema: impl Into<String>) -> Content {
    Content::new(Some(Ref::from_schema_name(schema)))
}

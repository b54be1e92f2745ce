//! The description against the doors: every path that is served is described with its methods, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use manyhands_api::OPENAPI;
use reqwest::header::{ALLOW, CONTENT_TYPE, HOST};
use reqwest::{Client, Method};
use serde_json::Value;
use support::world::{KEY, World};

/// Where routes are made.
const SOURCES: [&str; 2] = [include_str!("../src/server/routes.rs"), include_str!("../src/bonsai/routes.rs")];

/// The methods of each path, in capitals.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let methods = |calls: &Value| calls.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    let paths = file["paths"].as_object().unwrap();
    paths.iter().map(|(path, calls)| (path.clone(), methods(calls))).collect()
}

#[test]
fn the_paths_that_the_routers_are_made_of_are_those_that_are_described() {
    let made: Vec<&str> = SOURCES
        .iter()
        .flat_map(|source| source.split(".route(\"").skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    let paths: BTreeSet<&str> = made.iter().copied().collect();
    assert_eq!(made.len(), paths.len());
    assert_eq!(paths, described().keys().map(String::as_str).collect());
    for source in SOURCES {
        assert_eq!(source.matches(".route(").count(), source.matches(".route(\"/").count(), "a path by another name");
        assert!(!source.contains(".nest(") && !source.contains(".route_service("), "this test reads routes alone");
    }
}

#[tokio::test]
async fn the_description_is_served_as_it_is() {
    let address = World::serve().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}/v1/openapi.json")).send().await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(answer.text().await.unwrap(), OPENAPI);
}

#[tokio::test]
async fn each_path_takes_the_methods_that_are_described_and_no_other() {
    let address = World::serve().await;
    let client = Client::builder().no_proxy().build().unwrap();
    for (path, mut methods) in described() {
        // HEAD is answered where GET is.
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        let url = format!("http://{address}{}", path.replace("{id}", "x"));
        for method in [Method::PATCH, Method::OPTIONS, Method::TRACE] {
            let answer = client.request(method, &url).send().await.unwrap();
            assert_eq!(answer.status(), 405, "{path}");
            let allowed = answer.headers()[ALLOW].to_str().unwrap().to_owned();
            assert_eq!(allowed.split(',').map(str::to_owned).collect::<BTreeSet<_>>(), methods, "{path}");
            let body = answer.text().await.unwrap();
            assert!(body.contains("does not take this method"), "{path}: {body}");
            assert_eq!(body.starts_with('{'), path.starts_with("/v1/"), "{path}: {body}");
        }
    }
}

/// Each call with its address and its described answers.
fn calls(address: SocketAddr, id: &str) -> Vec<(Method, String, Value)> {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut all = Vec::new();
    for (path, calls) in file["paths"].as_object().unwrap() {
        for (method, call) in calls.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            all.push((method, format!("http://{address}{}", path.replace("{id}", id)), call["responses"].clone()));
        }
    }
    all
}

/// How a refusal is written there.
fn form(url: &str) -> &'static str {
    if url.contains("/v1/") { "application/json" } else { "text/plain; charset=utf-8" }
}

#[tokio::test]
async fn strangers_are_turned_away_from_every_call_in_the_words_of_its_api() {
    let address = World::serve().await;
    let client = Client::builder().no_proxy().build().unwrap();
    for (method, url, described) in calls(address, "x") {
        let answer = client.request(method, &url).header(HOST, "evil.example").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()[CONTENT_TYPE]), (403, &form(&url).parse().unwrap()));
        assert!(described.get("403").is_some(), "{url}");
    }
}

#[tokio::test]
async fn ids_that_are_no_text_are_refused_in_the_words_of_the_api() {
    let address = World::serve().await;
    let client = Client::builder().no_proxy().build().unwrap();
    for (method, url, described) in calls(address, "%ff").into_iter().filter(|(_, url, _)| url.contains("%ff")) {
        let answer = client.request(method, &url).header("x-api-key", KEY).send().await.unwrap();
        let status = answer.status().as_str().to_owned();
        assert!(matches!(status.as_str(), "400" | "404") && described.get(&status).is_some(), "{url}: {status}");
        assert_eq!(answer.headers()[CONTENT_TYPE], form(&url), "{url}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let address = World::serve().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let asked = |bytes| client.get(format!("http://{address}/v1/health")).header("x-large", "x".repeat(bytes)).send();
    assert_eq!(asked(31 << 10).await.unwrap().status(), 200);
    let refused = asked(33 << 10).await.unwrap();
    assert_eq!(refused.status(), 431);
    // As the description says: the HTTP library refuses it, before there is a form to refuse it in.
    assert!(refused.headers().get("x-manyhands-api").is_none() && refused.headers().get(CONTENT_TYPE).is_none());
    assert_eq!(refused.text().await.unwrap(), "");
}

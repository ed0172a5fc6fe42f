//! Tokens at the border: what opens a door, and everything that must not.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parlor::auth::{
    AuthError, Caller, IssueError, Issuer, LIFE_MAX, Reason, Revocations, Role, TOKEN_BYTES_MAX, Verifier,
};
use parlor::clock::FixedClock;
use ring::hmac;
use secrecy::SecretString;
use serde_json::{Value, json};

const SECRET: &str = "a secret of at least thirty-two bytes";
const NOW: u64 = 1_790_000_000;
const SCOPE: &str = "chat:write";

fn clock(seconds: u64) -> Arc<FixedClock> {
    Arc::new(FixedClock(seconds * 1000))
}

fn issuer() -> Issuer {
    Issuer::new(&SecretString::from(SECRET), "parlor", "parlor", clock(NOW))
}

fn verifier_at(seconds: u64) -> Verifier {
    let issuers = ["parlor".to_owned(), "https://sso.example".to_owned()];
    let audiences = ["parlor".to_owned(), "bots".to_owned()];
    Verifier::new(&SecretString::from(SECRET), &issuers, &audiences, clock(seconds))
}

fn verify(token: &str) -> Result<Caller, AuthError> {
    verifier_at(NOW).verify(token, SCOPE)
}

/// A token by our own hand, so that it can say anything.
fn forge(header: &Value, claims: &Value, secret: &str) -> String {
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", text(header), text(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn claims() -> Value {
    json!({ "iss": "parlor", "aud": "parlor", "iat": NOW, "exp": NOW + 60, "jti": "t1", "scope": [SCOPE] })
}

/// The claims above with some replaced; null takes one away.
fn signed_with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    forge(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, SECRET)
}

fn refused(token: &str) -> Reason {
    match verify(token) {
        Err(AuthError::Unauthorized(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn what_the_issuer_makes_the_verifier_takes() {
    let token = issuer().issue(&[SCOPE, "metrics:read"], Duration::from_secs(600), Some("li")).unwrap();
    let caller = verify(&token).unwrap();
    assert_eq!(caller.person, "li");
    assert_eq!(caller.scopes, [SCOPE, "metrics:read"]);
    assert_eq!(caller.issuer, "parlor");
    assert!(caller.token_id.is_some());
    assert_eq!(verifier_at(NOW).verify(&token, "admin"), Err(AuthError::MissingScope("admin".to_owned())));
}

#[test]
fn without_a_subject_the_token_id_is_the_person() {
    let token = issuer().issue(&[SCOPE], Duration::from_secs(600), None).unwrap();
    let caller = verify(&token).unwrap();
    assert_eq!(Some(caller.person), caller.token_id);
    assert_eq!(refused(&signed_with(json!({ "jti": null }))), Reason::Anonymous);
}

#[test]
fn a_token_lives_ninety_days_at_most() {
    let issue = |life, scopes: &[&str]| issuer().issue(scopes, life, None);
    assert!(issue(LIFE_MAX, &[SCOPE]).is_ok());
    let over = issue(LIFE_MAX + Duration::from_secs(1), &[SCOPE]);
    assert!(matches!(over, Err(IssueError::TooLong { asked_days: 91 })));
    assert!(matches!(issue(Duration::ZERO, &[SCOPE]), Err(IssueError::TooShort)));
    assert!(matches!(issue(LIFE_MAX, &[]), Err(IssueError::Scope)));
    assert!(matches!(issue(LIFE_MAX, &["chat:write admin"]), Err(IssueError::Scope)));
}

#[test]
fn the_algorithm_is_hs256_and_nothing_else() {
    for algorithm in
        ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""]
    {
        let token = forge(&json!({ "alg": algorithm, "typ": "JWT" }), &claims(), SECRET);
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        for token in [token, unsigned] {
            assert!(matches!(refused(&token), Reason::Algorithm | Reason::Malformed), "{algorithm}");
        }
    }
    let unknown_extension = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
    assert_eq!(refused(&forge(&unknown_extension, &claims(), SECRET)), Reason::Malformed);
}

#[test]
fn a_signature_by_another_key_or_over_other_claims_is_refused() {
    let header = json!({ "alg": "HS256" });
    assert_eq!(refused(&forge(&header, &claims(), "another secret of thirty-two bytes!")), Reason::Signature);
    let own = signed_with(json!({}));
    let foreign = signed_with(json!({ "scope": ["admin"] }));
    let (_, signature) = own.rsplit_once('.').unwrap();
    let (content, _) = foreign.rsplit_once('.').unwrap();
    assert_eq!(refused(&format!("{content}.{signature}")), Reason::Signature);
    assert_eq!(refused(&own[..own.len() - 3]), Reason::Signature);
}

#[test]
fn the_end_of_a_token_is_required_and_a_number() {
    for exp in [
        json!(null),
        json!((NOW + 60).to_string()),
        json!("never"),
        json!(-1),
        json!(true),
        json!([NOW + 60]),
    ] {
        assert_eq!(refused(&signed_with(json!({ "exp": exp }))), Reason::Malformed, "{exp}");
    }
    assert!(verify(&signed_with(json!({ "exp": NOW as f64 + 60.5 }))).is_ok());
    assert!(verify(&signed_with(json!({ "exp": u64::MAX }))).is_ok());
}

#[test]
fn leeway_is_sixty_seconds_on_both_sides() {
    let token = signed_with(json!({ "iat": NOW, "exp": NOW + 600 }));
    let at = |seconds| verifier_at(seconds).verify(&token, SCOPE).map(|_| ());
    assert_eq!(at(NOW + 600 + 59), Ok(()));
    assert_eq!(at(NOW + 600 + 60), Err(AuthError::Unauthorized(Reason::Expired)));
    assert_eq!(at(NOW - 60), Ok(()));
    assert_eq!(at(NOW - 61), Err(AuthError::Unauthorized(Reason::NotYet)));
    let later = signed_with(json!({ "nbf": NOW + 61 }));
    assert_eq!(refused(&later), Reason::NotYet);
    assert!(verify(&signed_with(json!({ "nbf": NOW + 60 }))).is_ok());
}

#[test]
fn issuer_and_audience_come_from_the_configured_lists() {
    assert!(verify(&signed_with(json!({ "iss": "https://sso.example", "aud": "bots" }))).is_ok());
    assert!(verify(&signed_with(json!({ "aud": ["elsewhere", "bots"] }))).is_ok());
    assert_eq!(refused(&signed_with(json!({ "aud": "elsewhere" }))), Reason::Audience);
    assert_eq!(refused(&signed_with(json!({ "aud": ["elsewhere"] }))), Reason::Audience);
    assert_eq!(refused(&signed_with(json!({ "iss": "elsewhere" }))), Reason::Issuer);
    for missing in ["iss", "aud"] {
        assert_eq!(refused(&signed_with(json!({ missing: null }))), Reason::Malformed, "{missing}");
    }
    assert_eq!(refused(&signed_with(json!({ "aud": [] }))), Reason::Audience);
    assert_eq!(refused(&signed_with(json!({ "iss": 7 }))), Reason::Malformed);
}

#[test]
fn scopes_come_as_a_list_or_as_words() {
    for scope in [json!([SCOPE]), json!(["a", SCOPE]), json!(SCOPE), json!(format!("a  {SCOPE} b"))] {
        assert!(verify(&signed_with(json!({ "scope": scope }))).is_ok(), "{scope}");
    }
    for scope in [
        json!(null),
        json!([]),
        json!(""),
        json!("chat:writer"),
        json!("Chat:Write"),
        json!(["a chat:write"]),
    ] {
        let verdict = verify(&signed_with(json!({ "scope": scope })));
        assert_eq!(verdict, Err(AuthError::MissingScope(SCOPE.to_owned())), "{scope}");
    }
    assert_eq!(refused(&signed_with(json!({ "scope": 7 }))), Reason::Malformed);
}

#[test]
fn a_huge_token_is_refused_unread() {
    let long = signed_with(json!({ "note": "x".repeat(TOKEN_BYTES_MAX) }));
    assert_eq!(refused(&long), Reason::TooLong);
    let short = signed_with(json!({ "note": "x".repeat(TOKEN_BYTES_MAX / 2) }));
    assert!(verify(&short).is_ok());
}

#[test]
fn what_is_no_token_is_refused() {
    assert_eq!(refused(""), Reason::Missing);
    for garbage in ["x", "..", "a.b", "a.b.c", "a.b.c.d", "ey.ey.ey", " ", "\u{0}", "令牌"] {
        assert!(matches!(refused(garbage), Reason::Malformed | Reason::Signature), "{garbage}");
    }
    let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let payload = format!(
        r#"{{"iss":"parlor","aud":"parlor","exp":1,"exp":{},"jti":"t","scope":"{SCOPE}"}}"#,
        NOW + 60
    );
    let signed = format!("{twice}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    assert_eq!(
        refused(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))),
        Reason::Malformed
    );
}

#[test]
fn a_caller_learns_one_thing_alone() {
    let said = |token: &str| verify(token).unwrap_err().to_string();
    let expired = signed_with(json!({ "exp": NOW - 600 }));
    let forged = forge(&json!({ "alg": "HS256" }), &claims(), "another secret of thirty-two bytes!");
    assert_eq!(said(&expired), said(&forged));
    assert_eq!(said(&expired), said(""));
}

#[test]
fn a_revoked_token_is_refused_and_its_bearer_may_not_stay() {
    let revocations = Revocations::default();
    let verifier = verifier_at(NOW).without(revocations.clone());
    let token = signed_with(json!({}));
    let caller = verifier.verify(&token, SCOPE).unwrap();
    assert!(!verifier.life_left(&caller).is_zero());
    revocations.set([("t1".to_owned(), NOW * 1000)].into());
    assert_eq!(verifier.verify(&token, SCOPE), Err(AuthError::Unauthorized(Reason::Revoked)));
    assert!(verifier.life_left(&caller).is_zero(), "a line that it opened ends");
    assert!(verifier.verify(&signed_with(json!({ "jti": "t2" })), SCOPE).is_ok());
    revocations.set([].into());
    assert!(verifier.verify(&token, SCOPE).is_ok());
}

#[test]
fn the_highest_role_of_a_token_counts() {
    let role =
        |scopes: &[&str]| Role::of(&scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>());
    assert_eq!(role(&["chat:write", "role:viewer"]), Some(Role::Viewer));
    assert_eq!(role(&["role:viewer", "role:admin", "role:operator"]), Some(Role::Admin));
    for none in [&[][..], &["admin"], &["role:root"], &["ROLE:ADMIN"], &["role:admin:x"]] {
        assert_eq!(role(none), None, "{none:?}");
    }
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
}

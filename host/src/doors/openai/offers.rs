//! What there is to ask, as `GET /v1/models` lists it.

use axum::Json;
use serde_json::{Value, json};

use super::Offer;
use super::complaint::Complaint;

/// Who the list says has them.
const OWNER: &str = "parlor";

pub fn list(offers: &[Offer]) -> Json<Value> {
    let data: Vec<Value> = offers.iter().map(card).collect();
    Json(json!({ "object": "list", "data": data }))
}

pub fn one(offer: &Offer) -> Json<Value> {
    Json(card(offer))
}

pub fn named<'o>(id: &str, offers: &'o [Offer]) -> Result<&'o Offer, Complaint> {
    offers.iter().find(|offer| offer.id == id).ok_or_else(|| Complaint::no_such_model(id))
}

fn card(offer: &Offer) -> Value {
    json!({ "id": offer.id, "object": "model", "created": offer.created, "owned_by": OWNER })
}

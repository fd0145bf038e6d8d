//! What is answered.

use base64::{Engine, prelude::BASE64_STANDARD};
use hyperalign_core::schedule::Solver;
use serde_json::{Map, Value, json};

use super::created;
use crate::command::serve::{catalog::PREVIEWS, http::App, order::Order, queue::Picture};

/// All pictures of a request.
pub fn whole(app: &App, order: &Order, pictures: &[Picture]) -> Value {
    let pictures: Vec<Value> = pictures.iter().map(|picture| picture_of(picture).into()).collect();
    let mut body = common(app, order);
    body.insert("created".to_owned(), created().into());
    body.insert("data".to_owned(), pictures.into());
    if !order.warnings.is_empty() {
        body.insert("warnings".to_owned(), json!(order.warnings));
    }
    body.into()
}

/// A picture, with what it was made by.
pub fn picture_of(picture: &Picture) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("b64_json".to_owned(), BASE64_STANDARD.encode(&picture.png).into());
    object.insert("seed".to_owned(), picture.seed.into());
    object.insert("parameters".to_owned(), picture.parameters.as_str().into());
    object
}

/// What all pictures of an order have in common.
pub fn common(app: &App, order: &Order) -> Map<String, Value> {
    let [height, width] = order.size;
    let mut object = Map::new();
    object.insert("model".to_owned(), app.catalog.base.name().into());
    object.insert("size".to_owned(), format!("{width}x{height}").into());
    object.insert("output_format".to_owned(), "png".into());
    let variant = order.recipe.variant;
    object.insert("variant".to_owned(), variant.map_or(json!("base"), |variant| json!(variant)));
    object
}

/// The models that there are, of which there is one, and what can be chosen.
pub fn models(app: &App) -> Value {
    let catalog = &app.catalog;
    let [height, width] = catalog.base.picture_size();
    let is_for = catalog.base.solver(Default::default()).map(Solver::is_for_flows);
    let fits = |solver: &Solver| is_for.as_ref().is_ok_and(|flows| solver.is_for_flows() == *flows);
    let schedulers: Vec<&str> = Solver::ALL.into_iter().filter(fits).map(Solver::name).collect();
    let loras: Map<String, Value> =
        catalog.loras.iter().map(|(name, scale)| (name.clone(), json!(scale))).collect();
    let variants = if catalog.has_adapter { &["base", "s", "p", "i"][..] } else { &["base"] };
    json!({"object": "list", "data": [{
        "id": catalog.base.name(),
        "object": "model",
        "created": 0,
        "owned_by": "hyperalign",
        "hash": catalog.base.weights_hash(),
        "size": format!("{width}x{height}"),
        "steps": catalog.sampling.steps,
        "guidance": catalog.sampling.guidance_scale,
        "reads_negative_prompt": catalog.base.reads_unconditional(),
        "variant": catalog.variant.map_or(json!("base"), |variant| json!(variant)),
        "variants": variants,
        "loras": loras,
        "schedulers": schedulers,
        "limits": {
            "n": catalog.limits.pictures,
            "steps": catalog.limits.steps,
            "side": catalog.limits.side,
            "partial_images": PREVIEWS,
        },
    }]})
}

//! Pictures in the shape of AUTOMATIC1111's web UI, which most front ends speak.
//!
//! As there, fields that are not known are passed over; a sampler or a LoRA that there is not is
//! refused. `variant` and `eta` may stand beside the fields of the web UI.

mod names;
mod wish;

#[cfg(test)]
pub use self::wish::read;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{catalog::bad, events::Held, http::App, order::Order, queue::Picture};
use crate::server::{self, Refusal};

/// `POST /sdapi/v1/txt2img`.
pub async fn txt2img(State(app): State<Arc<App>>, request: Request) -> Response {
    let watched = app.watched();
    let made = make(&app, request).await;
    watched.ended(&made);
    made.unwrap_or_else(|refusal| refused(&refusal))
}

async fn make(app: &App, request: Request) -> Result<Response, Refusal> {
    let (fields, room) = app.fields(request).await?;
    let flows = app.catalog.base.solver(Default::default()).is_ok_and(|own| own.is_for_flows());
    let (wish, echo) = wish::read(fields, flows)?;
    let order = app.order(wish).await?;
    drop(room);
    let mut pending = app.queue.join(&order)?;
    let pictures = app.pictures(&mut pending, order.shots.len()).await?;
    let images: Vec<String> =
        pictures.iter().map(|picture| BASE64_STANDARD.encode(&picture.png)).collect();
    let info = info(app, &order, &pictures)?;
    let body = json!({"images": images, "parameters": echo, "info": info.to_string()});
    Ok(Held::json(&body, pending.places))
}

/// What is said of the pictures, which is a JSON text in the answer's JSON.
fn info(app: &App, order: &Order, pictures: &[Picture]) -> Result<Value, Refusal> {
    let sampling = &order.recipe.sampling;
    let [height, width] = order.size;
    let of = |f: &dyn Fn(&Picture) -> Value| pictures.iter().map(f).collect::<Vec<_>>();
    let prompt = order.shots[0].prompt.text.as_str();
    let negative = sampling.negative_prompt.as_str();
    Ok(json!({
        "prompt": prompt,
        "all_prompts": of(&|_| prompt.into()),
        "negative_prompt": negative,
        "all_negative_prompts": of(&|_| negative.into()),
        "seed": order.shots[0].seed,
        "all_seeds": of(&|picture| picture.seed.into()),
        "width": width,
        "height": height,
        "sampler_name": app.catalog.solver(&order.recipe)?.label(),
        "cfg_scale": sampling.guidance_scale,
        "steps": sampling.steps,
        "batch_size": pictures.len(),
        "sd_model_name": app.catalog.base.name(),
        "sd_model_hash": hash(app),
        "infotexts": of(&|picture| picture.parameters.as_str().into()),
        "index_of_first_image": 0,
        "variant": order.recipe.variant,
        "warnings": order.warnings,
    }))
}

/// The hash of the base, as short as files of pictures have it.
fn hash(app: &App) -> String {
    app.catalog.base.weights_hash().chars().take(10).collect()
}

fn title(app: &App) -> String {
    format!("{} [{}]", app.catalog.base.name(), hash(app))
}

fn answer(body: &Value) -> Response {
    server::answer("application/json", body.to_string())
}

/// `GET /sdapi/v1/options`.
pub async fn options(State(app): State<Arc<App>>) -> Response {
    answer(&json!({
        "sd_model_checkpoint": title(&app),
        "sd_checkpoint_hash": app.catalog.base.weights_hash(),
        "samples_format": "png",
        "CLIP_stop_at_last_layers": 1,
    }))
}

/// `POST /sdapi/v1/options`: front ends choose the model before they ask, and there is one.
pub async fn set_options(State(app): State<Arc<App>>, request: Request) -> Response {
    let checked = async {
        let (mut fields, _room) = app.fields(request).await?;
        let (name, title) = (app.catalog.base.name(), title(&app));
        match fields.text("sd_model_checkpoint")? {
            Some(other) if other != name && other != title => {
                Err(bad(format!("there is no model `{other}`; this server has `{name}` alone")))
            }
            _ => Ok(answer(&Value::Null)),
        }
    };
    checked.await.unwrap_or_else(|refusal: Refusal| refused(&refusal))
}

/// `GET /sdapi/v1/samplers`.
pub async fn samplers(State(app): State<Arc<App>>) -> Response {
    let flows = app.catalog.base.solver(Default::default()).is_ok_and(|own| own.is_for_flows());
    let sampler =
        |(label, name): (&str, &str)| json!({"name": label, "aliases": [name], "options": {}});
    answer(&names::samplers(flows).map(|solver| sampler((solver.label(), solver.name()))).collect())
}

/// `GET /sdapi/v1/sd-models`.
pub async fn models(State(app): State<Arc<App>>) -> Response {
    let name = app.catalog.base.name();
    answer(&json!([{
        "title": title(&app),
        "model_name": name,
        "hash": hash(&app),
        "sha256": app.catalog.base.weights_hash(),
        "filename": name,
        "config": null,
    }]))
}

/// `GET /sdapi/v1/loras`: what `<lora:NAME:SCALE>` may name.
pub async fn loras(State(app): State<Arc<App>>) -> Response {
    let lora = |(name, _): &(String, f64)| json!({"name": name, "alias": name, "path": name, "metadata": {}});
    answer(&app.catalog.loras.iter().map(lora).collect())
}

/// `GET /sdapi/v1/upscalers`: none.
pub async fn upscalers() -> Response {
    answer(&json!([]))
}

/// `GET /sdapi/v1/progress`: of the batch at hand, whoever ordered it. While somebody asks, there are
/// previews of it.
pub async fn progress(State(app): State<Arc<App>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if !query.split('&').any(|part| part == "skip_current_image=true") {
        app.now.look_on();
    }
    let now = app.now.read();
    let part = if now.steps == 0 { 0.0 } else { now.step as f64 / now.steps as f64 };
    let left = if part > 0.0 { now.seconds * (1.0 - part) / part } else { 0.0 };
    let preview = now.preview.as_ref().map(|png| BASE64_STANDARD.encode(png));
    answer(&json!({
        "progress": part,
        "eta_relative": left,
        "state": {
            "skipped": false,
            "interrupted": false,
            "job": if now.pictures > 0 { "txt2img" } else { "" },
            "job_count": now.pictures,
            "job_no": 0,
            "sampling_step": now.step,
            "sampling_steps": now.steps,
        },
        "current_image": preview,
        "textinfo": null,
    }))
}

/// A refusal in the shape of the web UI's errors.
pub fn refused(refusal: &Refusal) -> Response {
    let kind = refusal.status.canonical_reason().unwrap_or("error");
    let reason = refusal.short();
    refusal.with_body(&json!({"error": kind, "detail": reason, "body": "", "errors": reason}))
}

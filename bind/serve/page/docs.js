"use strict";
// The page of the API, made of its description, /openapi.json. It asks the service that it came from and nobody else.

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const MAX_LEVELS = 6;
let components = {};

function element(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) key in made ? (made[key] = value) : made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function resolved(schema) {
  return schema?.$ref ? components[schema.$ref.split("/").at(-1)] : schema ?? {};
}

// "a list of text", "number or null"
function kindOf(schema) {
  const { type, anyOf, items, title } = resolved(schema);
  if (anyOf) return anyOf.map(kindOf).join(" or ");
  if (type === "array") return `a list of ${kindOf(items)}`;
  if (type === "string") return "text";
  if (type === "object") return title ?? "an object";
  return type ?? "anything";
}

// The objects within a schema: its fields are shown below it.
function objectsIn(schema) {
  const { anyOf, items, properties, additionalProperties } = resolved(schema);
  if (properties) return [resolved(schema)];
  const inner = [...(anyOf ?? []), ...(items ? [items] : [])];
  if (typeof additionalProperties === "object") inner.push(additionalProperties);
  return inner.flatMap(objectsIn);
}

function fields(schema, level = 0) {
  const { properties = {}, required = [] } = schema;
  return element("ul", { className: "fields" }, ...Object.entries(properties).map(([name, field]) => {
    const facts = [kindOf(field), required.includes(name) ? "required" : "",
      field.default === undefined || field.default === null ? "" : `default ${JSON.stringify(field.default)}`];
    const words = resolved(field).description ?? field.description ?? "";
    const below = level < MAX_LEVELS ? objectsIn(field).map((inner) => fields(inner, level + 1)) : [];
    return element("li", {}, element("code", {}, name), ` ${facts.filter(Boolean).join(", ")}${words && `: ${words}`}`, ...below);
  }));
}

function described(heading, schema) {
  const words = schema.description ? [element("p", {}, schema.description)] : [];
  return [element("h3", {}, heading), ...words, ...objectsIn(schema).map((object) => fields(object))];
}

function route(method, path, { summary, description, parameters = [], requestBody, responses }) {
  const parts = [element("p", {}, description ?? summary ?? "")];
  if (parameters.length) {
    const properties = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]));
    const required = parameters.filter((parameter) => parameter.required).map(({ name }) => name);
    parts.push(element("h3", {}, "Parameters"), fields({ properties, required }));
  }
  for (const [kind, { schema }] of Object.entries(requestBody?.content ?? {})) parts.push(...described(`Body, ${kind}`, schema));
  for (const [status, { content = {} }] of Object.entries(responses)) {
    if (status.startsWith("2")) for (const [kind, { schema }] of Object.entries(content)) parts.push(...described(`Answer, ${kind}`, schema));
  }
  return element("details", {}, element("summary", {}, element("code", {}, `${method.toUpperCase()} ${path}`), ` ${summary ?? ""}`), ...parts);
}

async function begin() {
  for (const link of document.querySelectorAll(".other")) link.hash = location.hash;
  const response = await fetch("/openapi.json", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  const api = await response.json();
  if (!response.ok) {
    $("about").textContent = `${api.error}. Open the page with #token=TOKEN behind its address.`;
    return;
  }
  components = api.components?.schemas ?? {};
  $("about").textContent = `${api.info.title} ${api.info.version}. ${api.info.summary}. Errors are JSON: {"error": "…"}. `
    + "Live time lines are a WebSocket, /live/stream. Programs read this description as /openapi.json.";
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) $("routes").append(route(method, path, operation));
  }
}

begin();

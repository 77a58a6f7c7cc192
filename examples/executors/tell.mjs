#!/usr/bin/env node
// Runs an agent program and tells what it does as JCT understands it: each tool that it calls as a step, its last words as the
// summary, its tools as decisions, and what it says that it cost (where it asks models through JCT, the broker's account counts).
//
//   tell.mjs claude|codex|gemini|opencode|aider PROGRAM ARGUMENT…
//
// Its output stays as it is, in the artifact agent.jsonl (aider: agent.log). Ends as the program does; with 1 where that only says
// that it failed.
import { spawn } from "node:child_process";
import { createWriteStream, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const MOST_DECISIONS = 200;
const told = { summary: "", decisions: [], usd: undefined, tokens: 0, failed: false };

const line = (text, most) => String(text ?? "").replace(/\s+/g, " ").trim().slice(0, most);

function step(what, detail) {
  const text = line(detail ? `${what}: ${detail}` : what, 300);
  console.log(`::step::${text}`);
  if (told.decisions.length < MOST_DECISIONS) told.decisions.push(text);
}

/** What a call of a tool is about. */
const about = (input) => {
  const { command, cmd, file_path, filePath, path, pattern, description } = input ?? {};
  return command ?? cmd ?? file_path ?? filePath ?? path ?? pattern ?? description ?? "";
};

const formats = {
  claude(event) {
    for (const part of event.type === "assistant" ? event.message.content : []) {
      if (part.type === "tool_use") step(part.name, about(part.input));
    }
    if (event.type !== "result") return;
    const { input_tokens = 0, cache_creation_input_tokens = 0, cache_read_input_tokens = 0, output_tokens = 0 } = event.usage ?? {};
    told.summary = event.result ?? event.subtype;
    told.usd = event.total_cost_usd;
    told.tokens = input_tokens + cache_creation_input_tokens + cache_read_input_tokens + output_tokens;
    told.failed = event.is_error;
  },
  codex(event) {
    const item = event.item ?? {};
    if (event.type === "item.started" && item.type === "command_execution") step("shell", item.command);
    if (event.type === "item.completed" && item.type === "file_change") {
      step("edit", (item.changes ?? []).map(({ path }) => path).join(", "));
    }
    if (event.type === "item.completed" && item.type === "agent_message") told.summary = item.text;
    if (event.type === "turn.completed") told.tokens += (event.usage?.input_tokens ?? 0) + (event.usage?.output_tokens ?? 0);
    if (event.type === "turn.failed" || event.type === "error") {
      told.summary = event.error?.message ?? event.message;
      told.failed = event.type === "turn.failed";
    }
  },
  gemini(event) {
    if (event.type === "tool_use") step(event.tool_name, about(event.parameters));
    // The last message comes in pieces: a tool begins another one.
    if (event.type === "tool_use") told.summary = "";
    if (event.type === "message" && event.role === "assistant") told.summary += event.content;
    if (event.type !== "result") return;
    told.tokens = event.stats?.total_tokens ?? 0;
    told.failed = event.status !== "success";
    if (event.error) told.summary = event.error.message ?? told.summary;
  },
  opencode(event) {
    const part = event.part ?? {};
    if (event.type === "tool_use") step(part.tool, about(part.state?.input));
    if (event.type === "text") told.summary = part.text;
    if (event.type === "step_finish") {
      told.tokens += part.tokens?.total ?? 0;
      told.usd = (told.usd ?? 0) + (part.cost ?? 0);
    }
    if (event.type === "error") {
      told.summary = event.error?.data?.message ?? event.error?.name;
      told.failed = true;
    }
  },
  aider: undefined, // has lines for people alone
};

function tellOfAider(text) {
  const edited = /^Applied edit to (.+)$/.exec(text);
  const used = /^Tokens: ([\d.]+)(k?) sent,.*?([\d.]+)(k?) received/.exec(text);
  if (edited) step("edit", edited[1]);
  else if (used) {
    const count = (number, unit) => Math.round(Number(number) * (unit ? 1000 : 1));
    told.tokens += count(used[1], used[2]) + count(used[3], used[4]);
  } else if (/^(litellm\.|.*Error:)/.test(text)) {
    told.summary = text;
    told.failed = true;
  } else if (/^\S/.test(text) && !told.failed) told.summary = text;
}

const [format, program, ...args] = process.argv.slice(2);
if (!program || !(format in formats)) {
  console.error(`usage: tell.mjs ${Object.keys(formats).join("|")} PROGRAM ARGUMENT…`);
  process.exit(2);
}
const kept = createWriteStream(`${process.env.JCT_OUT}/agent.${format === "aider" ? "log" : "jsonl"}`);
const agent = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
agent.on("error", (error) => {
  console.error(`${program}: ${error.message}`);
  process.exitCode = 127;
});
createInterface({ input: agent.stdout }).on("line", (text) => {
  kept.write(`${text}\n`);
  if (format === "aider") return tellOfAider(text);
  let event;
  try {
    event = JSON.parse(text);
  } catch {
    return console.log(text); // a warning among the events
  }
  formats[format](event);
});
agent.on("close", (code, signal) => {
  const summary = String(told.summary ?? "").trim().slice(0, 2000);
  const result = { summary, decision_log: told.decisions, cost: { usd: told.usd, tokens: told.tokens } };
  writeFileSync(process.env.JCT_RESULT_FILE, JSON.stringify(result));
  if (summary) console.log(summary);
  process.exitCode ??= code ?? (signal ? 1 : 0);
  if (process.exitCode === 0 && told.failed) process.exitCode = 1;
});

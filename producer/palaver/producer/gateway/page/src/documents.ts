/** What the gateway says: its JSON documents, as /openapi.json and the schemas of events describe them. */

export interface Listed<T> {
  items: T[];
  after: string | null;
}

export type Status = "queued" | "running" | "completed" | "failed" | "cancelled" | "expired";

export interface Session {
  session_id: string;
  agent: string | null;
  created: number | null;
  context: { title?: unknown };
  /** Who reads the messages, and then the events after this seq, misses nothing. */
  resume_after: number;
}

export interface Part {
  type: string;
  text?: string;
}

export interface Said {
  role: "user" | "assistant" | "system" | "developer" | "tool" | "widget";
  content: string | Part[];
  id: string | null;
  job_id: string | null;
  reasoning: string | null;
  widget: { type: string; data: unknown } | null;
  files: string[];
  metadata: { partial?: boolean; earlier?: boolean };
}

export interface Usage {
  input_tokens?: number | null;
  output_tokens?: number | null;
  total_tokens?: number | null;
  /** US dollars; not there where the price is not known. */
  cost?: number | null;
  estimated?: boolean;
  from_cache?: boolean;
}

export interface ToolCall {
  id: string;
  name: string;
  arguments: unknown;
}

export interface Response {
  content: string;
  reasoning?: string | null;
  tool_calls?: ToolCall[];
  usage?: Usage | null;
  model?: string | null;
  provider?: string | null;
  finish_reason?: string | null;
}

export interface Failure {
  message: string;
  code: string;
}

export interface Waits {
  /** Jobs before it, of all sessions. */
  position: number;
  /** About, until it goes on; null where nobody knows. */
  seconds: number | null;
}

export interface Job {
  job_id: string;
  status: Status;
  model: string;
  position: number;
  /** What it has to expect, asked for alone, while it waits for a worker, a provider or its tenant. */
  waits?: Waits | null;
  /** The seq before its first event. */
  cursor: number;
  created: number;
  started: number | null;
  ended: number | null;
  end_seq: number | null;
  text: string | null;
  response: Response | null;
  error: Failure | null;
}

export interface Accepted {
  job_id: string;
  session_id: string;
  cursor: number;
}

export interface FileObject {
  id: string;
  filename: string;
  bytes: number;
}

interface Told<T extends string, D> {
  seq: number;
  type: T;
  job_id: string;
  time: number;
  data: D;
}

export type PalaverEvent =
  | Told<"job_queued", { position?: number }>
  | Told<"stream_start", { model?: string; provider?: string; offset?: number }>
  | Told<"text_chunk" | "reasoning_chunk", { delta: string }>
  | Told<"content", { content_type: string; data?: unknown }>
  | Told<"tool_call", ToolCall>
  | Told<"tool_result", { id: string; name?: string; content?: unknown; is_error?: boolean }>
  | Told<"widget", { widget_type: string; data?: unknown }>
  | Told<"progress", { done?: number; total?: number; message?: string }>
  | Told<"warning", { code: string; message?: string }>
  | Told<"retry", { error: Failure; delay?: number; model?: string }>
  | Told<"resync", { seq: number; text?: string; reasoning?: string; status?: Status }>
  | Told<"stream_end", StreamEnd>;

export interface StreamEnd {
  status: Status;
  response?: Response | null;
  error?: Failure | null;
  text?: string | null;
  reasoning?: string | null;
  usage?: Usage | null;
  finish_reason?: string | null;
}

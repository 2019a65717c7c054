/** Types of switchboard.js, the client of the realtime protocol (docs/guide/clients.md). */

export type State = "connecting" | "open" | "waiting" | "offline" | "closed";

export interface Options {
  /** Sent to the app's `authorize`; a function is called before each connection. */
  data?: unknown | (() => unknown | Promise<unknown>);
  /** Called before each connection, and before a token ends. */
  getToken?: () => string | Promise<string>;
  /** Of the npm package `ws`, where there is no global one. */
  WebSocket?: unknown;
  firstBackoffMs?: number;
  maxBackoffMs?: number;
  connectTimeoutMs?: number;
  requestTimeoutMs?: number;
  /** From 0 up to 1; for tests. */
  random?: () => number;
}

/** `code`: one of docs/protocol.md, or not_connected, lost, timeout, left, closed. */
export class SwitchboardError extends Error {
  readonly code: string;
  /** Whether the same request may succeed a little later. */
  readonly retry: boolean;
  /** With which the connection ended, if that was the reason. */
  readonly closeCode: number;
}

export interface Place { epoch: string; offset: number }
export interface Joined extends Place { recovered: boolean; returning: boolean }
export interface Message { room: string; offset: number; data: any; base64?: boolean }
export interface Member { client: string; user?: string }
export interface Past { offset: number; data: any; base64?: boolean; published_at: number }

export interface ClientEvents {
  state: { state: State; reason: string; retryInMs: number };
  connected: { client: string; user?: string; expires_in_s?: number; limits: Record<string, number> };
  refused: { code: string; message: string };
  closed: { code: number; reason: string };
  broadcast: { data: any; base64?: boolean };
  broadcasts_missed: object;
  token_failed: Error;
}

export interface RoomEvents {
  message: Message;
  joined: Joined;
  member_joined: Member;
  member_left: Member;
  presence_missed: object;
  failed: SwitchboardError;
}

export class Client {
  readonly state: State;
  readonly id: string | null;
  readonly user: string | null;
  readonly limits: Record<string, number> | null;
  room(name: string): Room;
  request(type: string, fields?: object): Promise<any>;
  close(code?: number, reason?: string): void;
  on<E extends keyof ClientEvents>(name: E, listener: (event: ClientEvents[E]) => void): () => void;
}

export class Room {
  readonly name: string;
  readonly offset: number | null;
  readonly epoch: string | null;
  readonly isJoined: boolean;
  join(place?: { since?: number; epoch?: string }): Promise<Joined>;
  leave(): Promise<void>;
  publish(data: unknown): Promise<Place>;
  presence(): Promise<{ count: number; members: Member[] }>;
  history(range?: { since?: number; limit?: number }): Promise<Place & { messages: Past[] }>;
  on<E extends keyof RoomEvents>(name: E, listener: (event: RoomEvents[E]) => void): () => void;
}

export function connect(url: string, options?: Options): Client;

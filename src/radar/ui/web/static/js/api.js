// Asking the server once.

import { noticeServerTime } from "./clock.js";

/** An answer that is not what was asked for. `status` is 0 where nothing answered. */
export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Return the answer to a GET, e.g. get("candles", {symbol, interval_s: 60}). */
export async function get(path, parameters = {}, signal = undefined) {
  const url = new URL(`api/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  let response;
  try {
    response = await fetch(url, { signal, headers: { Accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "");
  }
  let answer = null;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (!response.ok || answer === null) {
    throw new ApiError(response.status, answer?.error ?? response.statusText);
  }
  if (typeof answer.at_s === "number") noticeServerTime(answer.at_s);
  return answer;
}

const REACH_MS = 3000;

/** Call `then` as soon as the server answers; returns what ends the attempts. */
export function whenReachable(then) {
  const timer = setInterval(() => {
    get("about").then(() => {
      clearInterval(timer);
      then();
    }, () => {});
  }, REACH_MS);
  return () => clearInterval(timer);
}

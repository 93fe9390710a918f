// What a page says about the age of what it shows: live only while data moves. Pure.

/**
 * Return what to say.
 *
 * @param now      the stream: {state, at_ms, quiet_s, problem, pulse}
 * @param now_ms   the time of this browser
 * @param server_s the server's time
 * @returns {state, banner, values}: state for the mark beside the pages' names, also its words; the
 *   key of a banner's text or "", and what the text names, in seconds
 */
export function liveness(now, now_ms, server_s) {
  const quiet_s = (now_ms - now.at_ms) / 1000;
  const said = (state, banner = "", values = {}) => ({ state, banner, values });
  if (now.state === "lost") return said("lost", "lost_banner", { age: Math.max(1, quiet_s) });
  if (now.problem) return said("stale", "problem_banner", { text: now.problem });
  if (now.state !== "live") return said(now.state);
  if (quiet_s > now.quiet_s) return said("stale", "stale_banner", { age: quiet_s });
  const { pulse } = now;
  if (!pulse) return said("connecting");
  if (pulse.state === "moves") return said("live");
  if (pulse.state === "unknown") {
    const stands = pulse.database_age_s === null || pulse.database_age_s > pulse.moves_s;
    return stands ? said("stale", "database_banner", { age: pulse.database_age_s }) : said("stale");
  }
  const slow = pulse.datasets.filter((each) => each.state === pulse.state);
  const oldest = slow.reduce((a, b) => ((a.newest_at_s ?? -1) <= (b.newest_at_s ?? -1) ? a : b));
  const age = oldest.newest_at_s === null ? null : server_s - oldest.newest_at_s;
  const values = { dataset: oldest.dataset, age };
  return pulse.state === "silent" ? said("silent", "silent_banner", values) : said("still", "", values);
}


// Moves through the recording: fetches it stretch by stretch, and shows each step when it is due.
// Knows no page: what fetches, what shows, and the clock are given.

export const SPEEDS = [1, 2, 5, 10, 20, 50, 100];

const FRAMES_PER_S = 20; // steps of the recording in a second of the viewer
const FIRST_STEPS = 40; // a short stretch, so that playing begins soon
const STEPS = 200;
const AHEAD_STEPS = 120; // the next stretch is fetched when so many are left
const RETRY_MS = 2000;
const LONGEST_MS = 1000; // a tab that slept does not jump

export class Playback {
  /**
   * @param {object} on  load(from_s, step_ms, steps): a promise of a stretch; show(frame);
   *   moved(at_s); waits(bool): the next stretch is not there; failed(error); ended(at_s)
   * @param {object} time  now(): milliseconds; next(callback): in the next frame; later(callback, ms)
   */
  constructor(on, time) {
    this.on = on;
    this.time = time;
    this.at_s = 0;
    this.speed = 1;
    this.round = 0; // another number: what was under way is over
    this.playing = false;
  }

  /** Play from a moment until another one, at so many seconds a second. */
  play(at_s, until_s, speed) {
    this.round += 1;
    this.playing = true;
    this.at_s = at_s;
    this.until_s = until_s;
    this.speed = speed;
    this.loaded_s = at_s;
    this.frames = [];
    this.loading = false;
    this.waiting = false;
    this.before_ms = this.time.now();
    this.fetch(FIRST_STEPS);
    this.turn(this.round);
  }

  /** Stop where it is; returns the moment. */
  pause() {
    this.round += 1;
    this.playing = false;
    return this.at_s;
  }

  get step_ms() {
    return Math.round((1000 / FRAMES_PER_S) * this.speed);
  }

  fetch(steps) {
    const { round, loaded_s, step_ms } = this;
    const left = Math.ceil(((this.until_s - loaded_s) * 1000) / step_ms);
    if (this.loading || left <= 0) return;
    this.loading = true;
    this.on.load(loaded_s, step_ms, Math.min(steps, left)).then(
      (stretch) => {
        if (round !== this.round) return;
        this.loading = false;
        this.frames.push(...stretch.frames);
        this.loaded_s = stretch.to_s;
      },
      (error) => {
        if (round !== this.round) return;
        this.on.failed(error);
        this.time.later(() => {
          if (round === this.round) this.loading = false;
        }, RETRY_MS);
      },
    );
  }

  turn(round) {
    if (round !== this.round) return;
    const now_ms = this.time.now();
    const passed_ms = Math.min(now_ms - this.before_ms, LONGEST_MS);
    this.before_ms = now_ms;
    const end_s = Math.min(this.loaded_s, this.until_s);
    this.at_s = Math.min(this.at_s + (passed_ms / 1000) * this.speed, end_s);
    while (this.frames.length > 0 && this.frames[0].at_s <= this.at_s) this.on.show(this.frames.shift());
    this.on.moved(this.at_s);
    if (this.at_s >= this.until_s) {
      this.pause();
      this.on.ended(this.at_s);
      return;
    }
    const waiting = this.at_s >= this.loaded_s;
    if (waiting !== this.waiting) this.on.waits((this.waiting = waiting));
    if ((this.loaded_s - this.at_s) * 1000 < AHEAD_STEPS * this.step_ms) this.fetch(STEPS);
    this.time.next(() => this.turn(round));
  }
}

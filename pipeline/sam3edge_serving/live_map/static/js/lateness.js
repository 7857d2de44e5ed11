// Whether messages come ever later: there are more of them than the way to this page carries. Clocks that are wrong say
// nothing, since only a device's own times are compared; nor does an outage that is caught up on, after which the first
// message is the latest, and those that follow are less so.
const WINDOW = 10_000; // milliseconds, of which the message that was on its way for least counts
const WINDOWS = 4, // after each other in which that has grown, at least
  GROWN = 10_000; // and by how much

export class Lateness {
  #window = null; // which one it is
  #least = 0; // of this window, milliseconds by the device's clock and ours
  #first = 0; // of the first window since which it has grown
  #last = 0; // of the window before
  #grown = 0; // windows
  #late = false;

  // A message, by when it was sent and when it came.
  take(sentAt, now) {
    const window = Math.floor(now / WINDOW),
      late = now - sentAt;
    if (window === this.#window) {
      this.#least = Math.min(this.#least, late);
      return;
    }
    if (this.#window !== null && window === this.#window + 1) this.#close();
    else this.#begin(late);
    this.#window = window;
    this.#least = late;
  }

  // Milliseconds by which messages come later than at first; 0 where they do not.
  grown(now) {
    const silent = this.#window === null || Math.floor(now / WINDOW) > this.#window + 1;
    return this.#late && !silent ? this.#last - this.#first : 0;
  }

  // Silence is no sign of anything: what comes after it begins anew.
  #begin(late) {
    this.#first = this.#last = late;
    this.#grown = 0;
    this.#late = false;
  }

  #close() {
    const growing = this.#least > this.#last;
    if (!growing && !this.#late) this.#first = this.#least;
    this.#grown = growing ? this.#grown + 1 : 0;
    this.#last = this.#least;
    const lag = this.#last - this.#first;
    if (lag >= GROWN && this.#grown >= WINDOWS) this.#late = true;
    if (lag < GROWN / 2) this.#late = false;
  }
}

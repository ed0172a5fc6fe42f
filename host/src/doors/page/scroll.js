// Follows the end of what is said, unless the person has scrolled up to read; offers the way back down.
// It knows heights, not messages.

/** Nearer to the end than this counts as at the end. */
const NEAR_PX = 48;

export class Follower {
  #frame;
  #jump;
  #isFollowing = true;
  #top = 0;

  constructor(frame, content, jump) {
    this.#frame = frame;
    this.#jump = jump;
    frame.addEventListener("scroll", () => this.#look(), { passive: true });
    // The scroll event of a small step up comes after the next piece of text would have pulled it down again.
    frame.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.#leave(), { passive: true });
    new ResizeObserver(() => this.#keepUp()).observe(content);
    new ResizeObserver(() => this.#keepUp()).observe(frame);
    jump.addEventListener("click", () => this.toEnd());
  }

  toEnd() {
    this.#isFollowing = true;
    this.#keepUp();
  }

  #distance() {
    return this.#frame.scrollHeight - this.#frame.scrollTop - this.#frame.clientHeight;
  }

  #keepUp() {
    if (this.#isFollowing) this.#frame.scrollTop = this.#frame.scrollHeight;
    this.#show();
  }

  /** Only a step up is a wish to stay there: text that has just come below is none. */
  #look() {
    const top = this.#frame.scrollTop;
    if (this.#distance() < NEAR_PX) this.#isFollowing = true;
    else if (top < this.#top) this.#isFollowing = false;
    this.#top = top;
    this.#show();
  }

  #leave() {
    if (this.#frame.scrollHeight > this.#frame.clientHeight) this.#isFollowing = false;
  }

  #show() {
    this.#jump.hidden = this.#isFollowing || this.#distance() < 2 * NEAR_PX;
  }
}

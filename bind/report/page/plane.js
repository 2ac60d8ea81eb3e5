// A canvas that shows points of the plane: zoom, move, and the point under the pointer or reached by the arrow keys.

const LARGEST_ZOOM = 60;
const MARK_PX = 4;
const MOUSE_REACH_PX = 14;
const FINGER_REACH_PX = 26;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Plane {
  // `look(i)` gives [shape, colour] of point i; `onpoint(i, chosen)` is told what is pointed at or chosen.
  constructor(canvas, look, onpoint) {
    Object.assign(this, { canvas, look, onpoint });
    Object.assign(this, { x: [], y: [], reach: [1, 1], visible: [], friends: [], current: null, pinned: false });
    this.view = { x: 0, y: 0, zoom: 1 };
    this.fingers = new Map();
    this.moved = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("wheel", (event) => this.onwheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.onkey(event));
    canvas.addEventListener("pointerdown", (event) => this.ondown(event));
    canvas.addEventListener("pointermove", (event) => this.onmove(event));
    canvas.addEventListener("pointerup", (event) => this.onup(event));
    canvas.addEventListener("pointercancel", (event) => this.fingers.delete(event.pointerId));
  }

  // Show points at other places, all of them in sight.
  show(x, y) {
    const reach = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    Object.assign(this, { x, y, reach: [reach(x), reach(y)] });
    this.reset();
  }

  // Pixels per unit, the same along both axes.
  get unit() {
    const [right, up] = [this.canvas.clientWidth / this.reach[0], this.canvas.clientHeight / this.reach[1]];
    return 0.46 * this.view.zoom * Math.min(right, up);
  }

  screen(i) {
    const { clientWidth, clientHeight } = this.canvas;
    return [
      clientWidth / 2 + (this.x[i] - this.view.x) * this.unit,
      clientHeight / 2 - (this.y[i] - this.view.y) * this.unit,
    ];
  }

  // Zoom about a place on the screen, which stays where it is.
  zoomBy(factor, at = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    const zoom = Math.min(LARGEST_ZOOM, Math.max(1, this.view.zoom * factor));
    const [right, down] = [at[0] - this.canvas.clientWidth / 2, at[1] - this.canvas.clientHeight / 2];
    const change = 1 / this.unit - this.view.zoom / zoom / this.unit;
    this.view.zoom = zoom;
    this.shift(-right * change, -down * change, 1);
  }

  shift(right, down, unit = this.unit) {
    const limit = (value) => Math.min(1, Math.max(-1, value));
    this.view.x = limit(this.view.x - right / unit);
    this.view.y = limit(this.view.y + down / unit);
    // Unzoomed, a finger scrolls the page.
    this.canvas.style.touchAction = this.view.zoom > 1 ? "none" : "pan-y";
    this.draw();
  }

  reset() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.shift(0, 0);
  }

  nearest(at, reach) {
    let [best, least] = [null, reach * reach];
    for (let i = 0; i < this.x.length; i++) {
      if (!this.visible[i]) continue;
      const [x, y] = this.screen(i);
      const distance = (x - at[0]) ** 2 + (y - at[1]) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  // The closest point within a quarter turn of a direction; far to the side counts double.
  next([right, down]) {
    if (this.current === null) return this.nearest([this.canvas.clientWidth / 2, this.canvas.clientHeight / 2], Infinity);
    const [x0, y0] = this.screen(this.current);
    let [best, least] = [this.current, Infinity];
    for (let i = 0; i < this.x.length; i++) {
      if (!this.visible[i] || i === this.current) continue;
      const [x, y] = this.screen(i);
      const along = (x - x0) * right + (y - y0) * down;
      const aside = Math.abs((x - x0) * down) + Math.abs((y - y0) * right);
      if (along > 0 && aside <= along && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
    }
    return best;
  }

  point(i, chosen = false) {
    this.current = i;
    this.pinned = chosen && i !== null;
    this.onpoint(i, chosen);
    this.draw();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left - this.canvas.clientLeft, event.clientY - box.top - this.canvas.clientTop];
  }

  onwheel(event) {
    // A page that is scrolled past the plot is not caught in it.
    if (document.activeElement !== this.canvas && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), this.place(event));
  }

  onkey(event) {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (DIRECTIONS[key]) this.point(this.next(DIRECTIONS[key]));
    else if (key === "+" || key === "=") this.zoomBy(1.5);
    else if (key === "-") this.zoomBy(1 / 1.5);
    else if (key === "0") this.reset();
    else if (key === "Escape") this.point(null);
    else if ((key === "Enter" || key === " ") && this.current !== null) this.point(this.current, true);
    else return;
    event.preventDefault();
  }

  ondown(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.place(event));
    if (this.fingers.size === 1) this.moved = 0;
  }

  onmove(event) {
    const [before, now] = [this.fingers.get(event.pointerId), this.place(event)];
    if (!before) {
      if (event.pointerType === "mouse" && !this.pinned) {
        const i = this.nearest(now, MOUSE_REACH_PX);
        // What was seen last stays, so that one can go and play it.
        if (i !== null && i !== this.current) this.point(i);
      }
      return;
    }
    this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (this.fingers.size === 2) {
      const [other] = [...this.fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = (at) => Math.max(10, Math.hypot(at[0] - other[0], at[1] - other[1]));
      this.zoomBy(apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
      this.shift((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    } else if (this.moved > 4) {
      this.shift(now[0] - before[0], now[1] - before[1]);
    }
    this.fingers.set(event.pointerId, now);
  }

  onup(event) {
    this.fingers.delete(event.pointerId);
    if (this.moved > 4 || this.fingers.size) return;
    const reach = event.pointerType === "mouse" ? MOUSE_REACH_PX : FINGER_REACH_PX;
    this.point(this.nearest(this.place(event), reach), true);
  }

  draw() {
    const { canvas } = this;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }
    const style = getComputedStyle(document.documentElement);
    const colours = [...Array(NUM_COLOURS).keys()].map((i) => style.getPropertyValue(`--c${i}`).trim());
    colours.push(style.getPropertyValue("--faint").trim());
    const [ink, paper] = ["--ink", "--paper"].map((name) => style.getPropertyValue(name).trim());
    const pen = canvas.getContext("2d");
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.fillStyle = paper;
    pen.fillRect(0, 0, width, height);
    const shapes = SHAPES.map((shape) => new Path2D(shape(MARK_PX)));
    const mark = (i) => {
      const [[x, y], [shape, colour]] = [this.screen(i), this.look(i)];
      pen.setTransform(density, 0, 0, density, x * density, y * density);
      pen.fillStyle = colours[colour];
      pen.strokeStyle = paper;
      pen.lineWidth = 0.8;
      pen.fill(shapes[shape]);
      pen.stroke(shapes[shape]);
    };
    const order = this.x.keys();
    pen.globalAlpha = this.current === null ? 0.85 : 0.6;
    for (const i of order) if (this.visible[i]) mark(i);
    pen.globalAlpha = 1;
    if (this.current === null || !this.visible[this.current]) return;
    const [x, y] = this.screen(this.current);
    const friends = this.friends.filter((i) => this.visible[i] && i !== this.current);
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.strokeStyle = ink;
    pen.lineWidth = 1.2;
    for (const i of friends) {
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(...this.screen(i));
      pen.stroke();
    }
    [...friends, this.current].forEach(mark);
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, MARK_PX + 5, 0, 2 * Math.PI);
    pen.stroke();
  }
}

// Worker that draws points on a canvas, so that slow drawing does not block the page. It uses WebGL,
// or sets pixels if there is no WebGL.
//
// Messages: {canvas, points: {n, x, y}, kind} first; then {colours}, RGBA bytes, or a view {width,
// height, camera, size} in screen pixels. Of the views that arrive during a drawing, the last counts.

let canvas;
let points;
let painter;
let colours;
let view = null;
let due = false;

onmessage = ({ data }) => {
  if (data.canvas) begin(data);
  else if (data.colours) painter.colour((colours = data.colours));
  else view = data;
  if (!view || due) return;
  due = true;
  setTimeout(paint);
};

function begin(data) {
  ({ canvas, points } = data);
  painter = makePainter(data.kind);
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => {
    painter = makePainter(data.kind);
    if (colours) painter.colour(colours);
    if (view) paint();
  });
  postMessage({ kind: painter.kind });
}

function paint() {
  due = false;
  const { width, height, camera, size } = view;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  painter.draw(camera, size);
}

function makePainter(kind) {
  const gl = kind === "canvas" ? null : canvas.getContext("webgl2", { antialias: false });
  return gl ? byWebGL(gl, canvas, points) : byPixels(canvas, points);
}

const VERTEX = `#version 300 es
in vec2 place;
in vec4 colour;
uniform vec2 centre;
uniform vec2 scale;
uniform float size;
out vec4 shade;
void main() {
  gl_Position = colour.a == 0.0 ? vec4(2.0, 2.0, 0.0, 1.0) : vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = size;
  shade = colour;
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 shade;
out vec4 pixel;
void main() {
  float r = length(gl_PointCoord - 0.5);
  float a = shade.a * (1.0 - smoothstep(0.35, 0.5, r));
  if (a < 0.004) discard;
  pixel = vec4(shade.rgb * a, a);
}`;

function byWebGL(gl, canvas, { n, x, y }) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  gl.useProgram(program);
  const places = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    places[2 * i] = x[i];
    places[2 * i + 1] = y[i];
  }
  attribute("place", places, 2, gl.FLOAT, false);
  const colours = attribute("colour", new Uint8Array(4 * n), 4, gl.UNSIGNED_BYTE, true);
  const [centre, scale, size] = ["centre", "scale", "size"].map((name) => gl.getUniformLocation(program, name));
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function attribute(name, data, width, type, normalised) {
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    const at = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, width, type, normalised, 0, 0);
    return buffer;
  }

  return {
    kind: "webgl",
    colour(bytes) {
      gl.bindBuffer(gl.ARRAY_BUFFER, colours);
      gl.bufferData(gl.ARRAY_BUFFER, bytes, gl.DYNAMIC_DRAW);
    },
    draw(camera, pixels) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(centre, camera.x, camera.y);
      gl.uniform2f(scale, (2 * camera.scale) / canvas.width, (2 * camera.scale) / canvas.height);
      gl.uniform1f(size, pixels);
      gl.drawArrays(gl.POINTS, 0, n);
    },
  };
}

function byPixels(canvas, { n, x, y }) {
  const context = canvas.getContext("2d");
  let bytes = new Uint8Array(4 * n);
  return {
    kind: "canvas",
    colour(colours) {
      bytes = colours;
    },
    draw(camera, pixels) {
      const { width, height } = canvas;
      const image = context.createImageData(width, height);
      const side = Math.max(1, Math.round(pixels * 0.8));
      const { scale } = camera;
      for (let i = 0; i < n; i++) {
        const left = Math.round((x[i] - camera.x) * scale + width / 2 - side / 2);
        const top = Math.round(height / 2 - (y[i] - camera.y) * scale - side / 2);
        if (left < 0 || top < 0 || left + side > width || top + side > height) continue;
        square(image.data, width, left, top, side, bytes, 4 * i);
      }
      context.putImageData(image, 0, 0);
    },
  };
}

function square(data, width, left, top, side, bytes, from) {
  const share = bytes[from + 3] / 255;
  if (share === 0) return;
  for (let row = top; row < top + side; row++) {
    for (let at = 4 * (row * width + left), end = at + 4 * side; at < end; at += 4) {
      const under = (data[at + 3] / 255) * (1 - share);
      const whole = share + under;
      for (let k = 0; k < 3; k++) data[at + k] = (bytes[from + k] * share + data[at + k] * under) / whole;
      data[at + 3] = 255 * whole;
    }
  }
}

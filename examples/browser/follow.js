// A graph of `stremn onnx` followed in a tab: one object, painted in the first frame of a local video.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

const at = (id) => document.getElementById(id);
const video = at("video"), drawing = at("drawing"), say = (text) => { at("said").textContent = text; };
const NEXT = "next.", CALLED_LOST = 0.5;
const ARRAYS = { float32: Float32Array, int64: BigInt64Array, bool: Uint8Array };

ort.env.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", location.href).href;
let session;
try {
  session = await ort.InferenceSession.create("step.onnx", { executionProviders: ["wasm"] });
} catch (error) {
  say(`step.onnx cannot be used: write it into this folder with stremn onnx (${error.message})`);
  throw error;
}
const shapes = Object.fromEntries(session.inputMetadata.map((of) => [of.name, of]));
const [height, width] = shapes.frame.shape, [, , rows, columns] = shapes.given.shape;
const stateNames = session.outputNames.filter((n) => n.startsWith(NEXT)).map((n) => n.slice(NEXT.length));
drawing.width = width;
drawing.height = height;
const paint = drawing.getContext("2d", { willReadFrequently: true });
const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
small.imageSmoothingQuality = "high";
say("Choose a video.");

at("file").onchange = () => {
  const chosen = at("file").files[0];
  if (!chosen) return;
  URL.revokeObjectURL(video.src);
  video.src = URL.createObjectURL(chosen);
  video.onerror = () => say("This browser cannot read that video.");
  video.onloadeddata = () => { clear(); at("follow").disabled = false; say("Paint over the object."); };
};
const clear = () => paint.clearRect(0, 0, width, height);
at("clear").onclick = clear;
drawing.onpointerdown = drawing.onpointermove = (event) => {
  if (!event.buttons) return;
  paint.fillStyle = "#f2555a";
  paint.beginPath();
  const x = event.offsetX * width / drawing.clientWidth, y = event.offsetY * height / drawing.clientHeight;
  paint.arc(x, y, Number(at("brush").value) * height / 240, 0, 7);
  paint.fill();
};

at("follow").onclick = async () => {
  const mask = paint.getImageData(0, 0, width, height).data;
  if (!mask.some((value, i) => i % 4 === 3 && value > 127)) return say("Paint over the object first.");
  at("follow").disabled = at("file").disabled = true;
  const rate = Number(at("rate").value), began = performance.now();
  const count = Math.max(1, Math.round(video.duration * rate)), found = [];
  let state = Object.fromEntries(stateNames.map((name) => [name, tensor(name, shapes[name])]));
  for (let index = 0; index < count; index++) {
    await seek((index + 0.5) / rate);  // the middle of the frame's time
    const given = tensor("given", shapes.given);
    if (index === 0) {
      const cell = height / rows;
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          if (mask[4 * (y * width + x) + 3] > 127) {
            given.data[Math.floor(y / cell) * columns + Math.floor(x / cell)] += 1 / cell ** 2;
          }
        }
      }
    }
    const one = (name, value) => { const t = tensor(name, shapes[name]); t.data[0] = value; return t; };
    const out = await session.run({
      ...state,
      frame: picture(),
      frame_index: one("frame_index", BigInt(index)),
      followed: one("followed", index > 0 ? 1 : 0),
      new: one("new", index === 0 ? 1 : 0),
      given,
    });
    state = Object.fromEntries(stateNames.map((name) => [name, out[NEXT + name]]));
    const pixels = index === 0 ? null : show(out.logits.data);
    const confidence = state.confidence.data[0];
    found.push({ pixels, confidence });
    const speed = (index + 1) / (performance.now() - began) * 1000;
    say(`Frame ${index + 1} of ${count}, ${speed.toFixed(1)} a second, confidence ${confidence.toFixed(2)}`
      + (confidence < CALLED_LOST ? ": lost" : ""));
  }
  window.found = found;
  at("follow").disabled = at("file").disabled = false;
  say(`${at("said").textContent}. Done.`);
};

function tensor(name, of) {
  const size = of.shape.reduce((a, b) => a * b, 1);
  return new ort.Tensor(of.type, new ARRAYS[of.type](size), of.shape);
}

function seek(time) {
  return new Promise((done) => {
    video.onseeked = done;
    video.currentTime = Math.min(time, video.duration - 1e-3);
  });
}

function picture() {
  small.drawImage(video, 0, 0, width, height);
  const rgba = small.getImageData(0, 0, width, height).data, rgb = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4, j += 3) rgb.set(rgba.subarray(i, i + 3), j);
  return new ort.Tensor("uint8", rgb, [height, width, 3]);
}

function show(logits) {  // bilinear to the frame's size; where above 0 the object is
  const image = paint.createImageData(width, height), cell = height / rows;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  let pixels = 0;
  for (let y = 0; y < height; y++) {
    const v = clamp((y + 0.5) / cell - 0.5, rows - 1), top = Math.floor(v), low = Math.min(top + 1, rows - 1);
    for (let x = 0; x < width; x++) {
      const u = clamp((x + 0.5) / cell - 0.5, columns - 1), left = Math.floor(u);
      const right = Math.min(left + 1, columns - 1), a = u - left, b = v - top;
      const upper = logits[top * columns + left] * (1 - a) + logits[top * columns + right] * a;
      const lower = logits[low * columns + left] * (1 - a) + logits[low * columns + right] * a;
      if (upper * (1 - b) + lower * b > 0) {
        image.data.set([242, 85, 90, 150], 4 * (y * width + x));
        pixels++;
      }
    }
  }
  paint.putImageData(image, 0, 0);
  return pixels;
}

// Interface of the worker that paints the points.

/** {colour(bytes), draw(camera, size), stop()}; began(kind) says "webgl" or "canvas". */
export function drawer(canvas, { n, x, y }, kind, began) {
  const worker = new Worker("/page/map/painter.js", { type: "module" });
  const sheet = canvas.transferControlToOffscreen();
  worker.onmessage = ({ data }) => began(data.kind);
  worker.postMessage({ canvas: sheet, points: { n, x, y }, kind }, [sheet]);
  return {
    colour: (bytes) => worker.postMessage({ colours: bytes }, [bytes.buffer]),
    draw({ x, y, scale }, size) {
      const ratio = Math.min(2, devicePixelRatio);
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
      worker.postMessage({ width, height, camera: { x, y, scale: scale * ratio }, size: size * ratio });
    },
    stop: () => worker.terminate(),
  };
}

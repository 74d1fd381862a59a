(() => {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = document.getElementById("rig-view");
  document.getElementById("times").textContent = scene.times;
  const shown = scene.cameras.flatMap((c) => c.pyramid).concat(scene.boards.flat());
  const low = [0, 1, 2].map((k) => Math.min(...shown.map((p) => p[k])));
  const high = [0, 1, 2].map((k) => Math.max(...shown.map((p) => p[k])));
  const middle = low.map((v, k) => (v + high[k]) / 2);
  const span = Math.max(...high.map((v, k) => v - low[k]), 0.1);
  let turn = 0.6, tilt = 0.5, zoom = 1;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  function draw() {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const scale = zoom * 0.8 * Math.min(width, height) / span;
    const at = (p) => {
      const [x, y, z] = p.map((v, k) => v - middle[k]);
      const a = x * Math.cos(turn) + y * Math.sin(turn), b = -x * Math.sin(turn) + y * Math.cos(turn);
      return [width / 2 + scale * a, height / 2 - scale * (z * Math.cos(tilt) + b * Math.sin(tilt))];
    };
    const line = (points, closed) => {
      pen.beginPath();
      points.map(at).forEach(([u, v], i) => (i ? pen.lineTo(u, v) : pen.moveTo(u, v)));
      if (closed) pen.closePath();
      pen.stroke();
    };
    pen.strokeStyle = css("--rule"); pen.lineWidth = 1;
    const step = 10 ** Math.floor(Math.log10(span / 2)) * (span / 10 ** Math.floor(Math.log10(span / 2)) > 8 ? 2 : 1);
    for (let k = -10; k <= 10; k++) {
      const g = k * step, reach = 10 * step;
      if (Math.abs(g) > span) continue;
      line([[middle[0] + g, middle[1] - Math.min(reach, span), low[2]], [middle[0] + g, middle[1] + Math.min(reach, span), low[2]]]);
      line([[middle[0] - Math.min(reach, span), middle[1] + g, low[2]], [middle[0] + Math.min(reach, span), middle[1] + g, low[2]]]);
    }
    pen.strokeStyle = css("--soft"); pen.globalAlpha = 0.35;
    scene.boards.forEach((corners) => line(corners, true));
    pen.globalAlpha = 1;
    pen.font = "13px system-ui,sans-serif";
    for (const camera of scene.cameras) {
      const [apex, a, b, c, d] = camera.pyramid;
      pen.strokeStyle = camera.colour; pen.lineWidth = 1.5;
      [a, b, c, d].forEach((corner) => line([apex, corner]));
      line([a, b, c, d], true);
      pen.lineWidth = 4; line([a, b]); pen.lineWidth = 1.5;
      const [u, v] = at(apex);
      pen.fillStyle = camera.colour; pen.globalAlpha = 0.3;
      pen.beginPath(); pen.arc(u, v, Math.max(scale * camera.sigma, 2), 0, 7); pen.fill();
      pen.globalAlpha = 1; pen.fillStyle = css("--ink"); pen.fillText(camera.name, u + 8, v - 8);
    }
    pen.fillStyle = css("--soft"); pen.fillText(`grid ${step >= 1 ? step + " m" : Math.round(100 * step) + " cm"}`, 10, height - 10);
  }
  let held = null;
  canvas.addEventListener("pointerdown", (e) => { held = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointermove", (e) => {
    if (!held) return;
    turn += (e.clientX - held[0]) / 150; tilt = Math.max(0, Math.min(Math.PI / 2, tilt + (e.clientY - held[1]) / 150));
    held = [e.clientX, e.clientY]; draw();
  });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom *= Math.exp(-e.deltaY / 600); draw(); }, { passive: false });
  addEventListener("resize", draw);
  draw();
})();

"use strict";
(function () {
  var root = document.getElementById("scene");
  if (!root) return;
  var canvas = root.querySelector("canvas.stage"), strip = root.querySelector("canvas.time"), labels = root.querySelector(".labels");
  var note = root.querySelector(".note"), told = root.querySelector(".now"), button = root.querySelector(".play");

  // Data: a header in JSON, and one block of bytes in which it places arrays.
  async function unpacked(text) {
    var raw = atob(text), bytes = new Uint8Array(raw.length);
    for (var i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new Response(new Response(bytes).body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }
  var KINDS = { f4: Float32Array, i4: Int32Array, u4: Uint32Array, i2: Int16Array, u2: Uint16Array, u1: Uint8Array };

  // Vectors and matrices; matrices are column after column, as WebGL takes them.
  var sub = function (a, b) { return [a[0] - b[0], a[1] - b[1], a[2] - b[2]]; };
  var add = function (a, b, k) { return [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]]; };
  var dot = function (a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; };
  var cross = function (a, b) { return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]; };
  var unit = function (a) { var n = Math.sqrt(dot(a, a)) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
  function product(a, b) {
    var out = new Float32Array(16);
    for (var c = 0; c < 4; c++) for (var r = 0; r < 4; r++) {
      var sum = 0;
      for (var k = 0; k < 4; k++) sum += a[4 * k + r] * b[4 * c + k];
      out[4 * c + r] = sum;
    }
    return out;
  }
  function rowsToMatrix(x, y, z, eye) {
    return new Float32Array([x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0, -dot(x, eye), -dot(y, eye), -dot(z, eye), 1]);
  }

  function begin(meta, block) {
    var arrays = {};
    Object.keys(meta.arrays).forEach(function (name) {
      var place = meta.arrays[name];
      arrays[name] = new KINDS[place[0]](block, place[1], place[2]);
    });
    var gl = canvas.getContext("webgl2", { antialias: true });
    if (!gl) { note.textContent = "This browser has no WebGL 2, which the view in space needs."; return; }
    var frames = arrays.numbers.length, joints = meta.joints.length, people = meta.people, cameras = meta.cameras;
    var up = unit(meta.up), side = unit(cross(Math.abs(up[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0], up)), ahead = cross(up, side);
    var row = 0, playing = false, speed = 1, dirty = true, through = -1;
    var shown = {}, present = people.map(function () { return true; });

    // Shaders
    function program(vertex, fragment) {
      var made = gl.createProgram();
      [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]].forEach(function (part) {
        var shader = gl.createShader(part[0]);
        gl.shaderSource(shader, "#version 300 es\nprecision highp float;\n" + part[1]);
        gl.compileShader(shader);
        if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
        gl.attachShader(made, shader);
      });
      gl.linkProgram(made);
      if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
      var at = function (name) { return gl.getUniformLocation(made, name); };
      return { made: made, at: at, view: at("view"), place: function (name) { return gl.getAttribLocation(made, name); } };
    }
    var LIGHT = "uniform vec3 eye;in vec3 n,p;out vec4 o;uniform vec4 tint;" +
      "vec3 lit(vec3 base){vec3 m=normalize(n),v=normalize(eye-p);if(dot(m,v)<0.)m=-m;float d=.35+.65*max(dot(m,v),0.);" +
      "return base*d+vec3(.10)*pow(max(dot(m,v),0.),24.);}";
    var bodies = program(
      "in vec3 a;in vec3 b;in uvec4 j;in vec4 w;uniform mat4 view;uniform vec4 bone[" + 3 * joints + "];out vec3 n,p;" +
      "void main(){vec4 x=vec4(0),y=vec4(0),z=vec4(0);for(int k=0;k<4;k++){int i=3*int(j[k]);x+=w[k]*bone[i];y+=w[k]*bone[i+1];z+=w[k]*bone[i+2];}" +
      "vec4 s=vec4(a,1.);p=vec3(dot(x,s),dot(y,s),dot(z,s));n=vec3(dot(x.xyz,b),dot(y.xyz,b),dot(z.xyz,b));gl_Position=view*vec4(p,1.);}",
      LIGHT + "void main(){o=vec4(lit(tint.rgb),tint.a);}");
    var balls = program(
      "in vec3 a;in vec3 c;in vec3 d;in vec3 e;in vec4 k;uniform mat4 view;out vec3 n,p;out vec4 t;" +
      "void main(){mat3 s=mat3(d.x,d.y,d.z,d.y,e.x,e.y,d.z,e.y,e.z);p=c+s*a;n=inverse(s)*a;t=k;gl_Position=view*vec4(p,1.);}",
      LIGHT + "in vec4 t;void main(){o=vec4(lit(t.rgb)+0.*tint.rgb,t.a);}");
    var strokes = program(
      "in vec3 a;in vec4 k;uniform mat4 view;uniform float size;out vec4 t;void main(){t=k;gl_PointSize=size;gl_Position=view*vec4(a,1.);}",
      "in vec4 t;out vec4 o;uniform float dots;void main(){if(dots>.5&&length(gl_PointCoord-.5)>.5)discard;o=t;}");
    var sheets = program(
      "in vec3 a;in vec2 u;uniform mat4 view;out vec2 v;void main(){v=u;gl_Position=view*vec4(a,1.);}",
      "in vec2 v;uniform sampler2D film;uniform float fade;out vec4 o;void main(){o=vec4(texture(film,v).rgb,fade);}");

    function buffer(data, kind) { var made = gl.createBuffer(); gl.bindBuffer(kind || gl.ARRAY_BUFFER, made); gl.bufferData(kind || gl.ARRAY_BUFFER, data, gl.STATIC_DRAW); return made; }
    function attribute(program, name, data, size, type, integer, normal) {
      var at = program.place(name);
      if (at < 0) return;
      gl.bindBuffer(gl.ARRAY_BUFFER, data);
      gl.enableVertexAttribArray(at);
      if (integer) gl.vertexAttribIPointer(at, size, type, 0, 0); else gl.vertexAttribPointer(at, size, type, !!normal, 0, 0);
    }

    // Bodies: the same triangles and weights for all, everybody's own shape.
    var faces = arrays.faces, vertexCount = arrays["skin.joints"].length / 4;
    var faceBuffer = buffer(faces, gl.ELEMENT_ARRAY_BUFFER), skinJoints = buffer(arrays["skin.joints"]), skinWeights = buffer(arrays["skin.weights"]);
    people.forEach(function (person, i) {
      var get = function (name) { return arrays["p" + i + "." + name]; };
      person.get = get;
      var points = new Float32Array(3 * vertexCount), normals = new Float32Array(3 * vertexCount), packed = get("vertices");
      for (var v = 0; v < points.length; v++) points[v] = packed[v] / 1e4;
      for (var f = 0; f < faces.length; f += 3) {
        var at = [faces[f], faces[f + 1], faces[f + 2]].map(function (k) { return [points[3 * k], points[3 * k + 1], points[3 * k + 2]]; });
        var normal = cross(sub(at[1], at[0]), sub(at[2], at[0]));
        for (var k = 0; k < 3; k++) for (var c = 0; c < 3; c++) normals[3 * faces[f + k] + c] += normal[c];
      }
      person.vao = gl.createVertexArray();
      gl.bindVertexArray(person.vao);
      attribute(bodies, "a", buffer(points), 3, gl.FLOAT);
      attribute(bodies, "b", buffer(normals), 3, gl.FLOAT);
      attribute(bodies, "j", skinJoints, 4, gl.UNSIGNED_BYTE, true);
      attribute(bodies, "w", skinWeights, 4, gl.UNSIGNED_BYTE, false, true);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, faceBuffer);
      gl.bindVertexArray(null);
      person.bones = new Float32Array(12 * joints);
      person.joints = new Float32Array(3 * joints);
    });
    var absent = meta.statuses.indexOf("absent");
    function here(person, at) { return person.get("status")[at] !== absent; }

    // Forward kinematics from rotations in the world.
    function pose(person, at) {
      var turn = person.get("turn"), pelvis = person.get("pelvis"), rest = person.get("rest"), bones = person.bones, place = person.joints;
      for (var j = 0; j < joints; j++) {
        var q = 4 * (at * joints + j), w = turn[q], x = turn[q + 1], y = turn[q + 2], z = turn[q + 3], s = 2 / (w * w + x * x + y * y + z * z || 1);
        var m = [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y), s * (x * y + w * z), 1 - s * (x * x + z * z),
          s * (y * z - w * x), s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)];
        var parent = meta.parents[j], r = 3 * j;
        for (var c = 0; c < 3; c++) {
          if (parent < 0) place[r + c] = pelvis[3 * at + c];
          else {
            var b = 12 * parent + 4 * c;
            place[r + c] = place[3 * parent + c] + bones[b] * (rest[r] - rest[3 * parent]) + bones[b + 1] * (rest[r + 1] - rest[3 * parent + 1]) + bones[b + 2] * (rest[r + 2] - rest[3 * parent + 2]);
          }
        }
        for (c = 0; c < 3; c++) {
          for (var k = 0; k < 3; k++) bones[12 * j + 4 * c + k] = m[3 * c + k];
          bones[12 * j + 4 * c + 3] = place[r + c] - m[3 * c] * rest[r] - m[3 * c + 1] * rest[r + 1] - m[3 * c + 2] * rest[r + 2];
        }
      }
    }

    // A ball, for joints' ellipsoids.
    var ball = [], rim = [], N = 12;
    for (var a = 0; a <= N; a++) for (var b = 0; b <= 2 * N; b++) { var t = Math.PI * a / N, g = Math.PI * b / N; ball.push(Math.sin(t) * Math.cos(g), Math.sin(t) * Math.sin(g), Math.cos(t)); }
    for (a = 0; a < N; a++) for (b = 0; b < 2 * N; b++) { var o = a * (2 * N + 1) + b; rim.push(o, o + 1, o + 2 * N + 1, o + 1, o + 2 * N + 2, o + 2 * N + 1); }
    var ballVao = gl.createVertexArray(), instances = [gl.createBuffer(), gl.createBuffer(), gl.createBuffer(), gl.createBuffer()];
    gl.bindVertexArray(ballVao);
    attribute(balls, "a", buffer(new Float32Array(ball)), 3, gl.FLOAT);
    ["c", "d", "e", "k"].forEach(function (name, i) { attribute(balls, name, instances[i], name === "k" ? 4 : 3, gl.FLOAT); gl.vertexAttribDivisor(balls.place(name), 1); });
    buffer(new Uint16Array(rim), gl.ELEMENT_ARRAY_BUFFER);
    gl.bindVertexArray(null);

    var strokeVao = gl.createVertexArray(), strokeData = gl.createBuffer(), strokeTint = gl.createBuffer();
    gl.bindVertexArray(strokeVao);
    attribute(strokes, "a", strokeData, 3, gl.FLOAT);
    attribute(strokes, "k", strokeTint, 4, gl.FLOAT);
    gl.bindVertexArray(null);
    function Pen() { this.points = []; this.tints = []; }
    Pen.prototype.line = function (p, q, tint) { this.points.push(p[0], p[1], p[2], q[0], q[1], q[2]); this.tints.push.apply(this.tints, tint); this.tints.push.apply(this.tints, tint); };
    Pen.prototype.dot = function (p, tint) { this.points.push(p[0], p[1], p[2]); this.tints.push.apply(this.tints, tint); };
    Pen.prototype.draw = function (mode, view, size) {
      if (!this.points.length) return;
      gl.useProgram(strokes.made);
      gl.bindVertexArray(strokeVao);
      gl.bindBuffer(gl.ARRAY_BUFFER, strokeData); gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(this.points), gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, strokeTint); gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(this.tints), gl.DYNAMIC_DRAW);
      gl.uniformMatrix4fv(strokes.view, false, view);
      gl.uniform1f(strokes.at("size"), size || 1);
      gl.uniform1f(strokes.at("dots"), mode === gl.POINTS ? 1 : 0);
      gl.drawArrays(mode, 0, this.points.length / 3);
    };

    // Pictures of the cameras; each stands until the next one.
    cameras.forEach(function (camera, i) {
      camera.films = meta.pictures.filter(function (each) { return each.view === i; });
      camera.vao = gl.createVertexArray();
      gl.bindVertexArray(camera.vao);
      attribute(sheets, "a", buffer(new Float32Array([].concat(camera.corners[3], camera.corners[2], camera.corners[0], camera.corners[1]))), 3, gl.FLOAT);
      attribute(sheets, "u", buffer(new Float32Array([0, 1, 1, 1, 0, 0, 1, 0])), 2, gl.FLOAT);
      gl.bindVertexArray(null);
    });
    function film(camera) {
      var found = null;
      camera.films.forEach(function (each) { if (each.row <= row) found = each; });
      if (!found) return null;
      if (!found.texture) {
        found.texture = "waiting";
        var image = new Image();
        image.onload = function () {
          var texture = gl.createTexture();
          gl.bindTexture(gl.TEXTURE_2D, texture);
          gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
          gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
          gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
          gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
          found.texture = texture; camera.last = texture; dirty = true;
        };
        image.src = found.uri;
      }
      if (found.texture !== "waiting") camera.last = found.texture;
      return camera.last || null;
    }

    // Where one looks from
    var start = sub(meta.eye, meta.middle), reach = Math.sqrt(dot(start, start)), follow = false;
    var look = { target: meta.middle, distance: reach, yaw: Math.atan2(dot(start, ahead), dot(start, side)), pitch: Math.asin(dot(start, up) / reach) };
    function eyeAt() {
      var flat = Math.cos(look.pitch), out = [0, 0, 0];
      out = add(out, side, flat * Math.cos(look.yaw)); out = add(out, ahead, flat * Math.sin(look.yaw)); out = add(out, up, Math.sin(look.pitch));
      return add(look.target, out, look.distance);
    }
    function viewNow(width, height) {
      var near = 0.03, far = 200, A = (far + near) / (far - near), B = -2 * far * near / (far - near);
      if (through >= 0) {
        var cam = cameras[through], w = cam.size[0], h = cam.size[1], s = Math.min(width / w, height / h), K = cam.matrix;
        var lens = new Float32Array([2 * s * K[0][0] / width, 0, 0, 0, 2 * s * K[0][1] / width, -2 * s * K[1][1] / height, 0, 0,
          2 * s * (K[0][2] + 0.5 - w / 2) / width, -2 * s * (K[1][2] + 0.5 - h / 2) / height, A, 1, 0, 0, B, 0]);
        return { matrix: product(lens, rowsToMatrix(cam.axes[0], cam.axes[1], cam.axes[2], cam.center)), eye: cam.center };
      }
      var eye = eyeAt(), back = unit(sub(eye, look.target)), right = unit(cross(up, back)), above = cross(back, right), f = 1 / Math.tan(0.38);
      var flat = new Float32Array([f * Math.min(height / width, 1), 0, 0, 0, 0, f * Math.min(1, width / height) * (width < height ? 1 : 1), 0, 0, 0, 0, -A, -1, 0, 0, B, 0]);
      if (width >= height) flat[5] = f; else { flat[0] = f; flat[5] = f * width / height; }
      return { matrix: product(flat, rowsToMatrix(right, above, back, eye)), eye: eye };
    }

    function heat(px) { var k = Math.min(px / 40, 1); return k < 0.5 ? [2 * k, 0.85, 0.25, 1] : [1, 0.85 * (2 - 2 * k), 0.2 * (2 - 2 * k) + 0.05, 1]; }
    function draw() {
      dirty = false;
      var ratio = window.devicePixelRatio || 1, width = Math.max(Math.round(canvas.clientWidth * ratio), 1), height = Math.max(Math.round(canvas.clientHeight * ratio), 1);
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      people.forEach(function (person) { if (here(person, row)) pose(person, row); });
      if (follow) {
        var chosen = people.filter(function (person, i) { return present[i] && here(person, row); })[0];
        if (chosen) look.target = [chosen.joints[0], chosen.joints[1], chosen.joints[2]];
      }
      var now = viewNow(width, height), view = now.matrix;
      gl.viewport(0, 0, width, height);
      gl.clearColor(0.075, 0.085, 0.105, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.enable(gl.BLEND); gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
      gl.disable(gl.DEPTH_TEST);
      function sheet(camera, fade) {
        var texture = film(camera);
        if (!texture) return;
        if (fade < 0.9) gl.depthMask(false);
        gl.useProgram(sheets.made); gl.bindVertexArray(camera.vao); gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.uniformMatrix4fv(sheets.view, false, view); gl.uniform1f(sheets.at("fade"), fade);
        gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
        gl.depthMask(true);
      }
      if (through >= 0 && shown.pictures) sheet(cameras[through], 1);
      gl.enable(gl.DEPTH_TEST); gl.depthFunc(gl.LEQUAL);

      if (shown.floor && through < 0) {
        var pen = new Pen(), origin = add(add(look.target, up, -dot(look.target, up)), up, meta.floor), size = meta.grid, tint = meta.floorKnown ? [0.45, 0.62, 0.55, 0.55] : [0.5, 0.53, 0.6, 0.38];
        var u0 = Math.round(dot(origin, side)), v0 = Math.round(dot(origin, ahead)), base = add([0, 0, 0], up, meta.floor);
        for (var k = -size; k <= size; k++) {
          pen.line(add(add(base, side, u0 + k), ahead, v0 - size), add(add(base, side, u0 + k), ahead, v0 + size), tint);
          pen.line(add(add(base, side, u0 - size), ahead, v0 + k), add(add(base, side, u0 + size), ahead, v0 + k), tint);
        }
        pen.draw(gl.LINES, view);
      }

      // Ellipsoids lie inside the bodies: they are drawn first, and the bodies thinly over them.
      var inside = shown.uncertainty || shown.skeleton || shown.residuals || shown.rays || through >= 0, alpha = inside ? 0.5 : 1;
      if (shown.uncertainty) {
        var centers = [], first = [], second = [], tints = [];
        people.forEach(function (person, i) {
          if (!present[i] || !here(person, row)) return;
          var spread = person.get("spread"), seen = person.get("seen");
          for (var j = 0; j < joints; j++) {
            var at = 6 * (row * joints + j), s = [];
            for (var c = 0; c < 6; c++) s.push(2 * spread[at + c] / 1e4);
            if (s[0] + s[3] + s[5] < 1e-4) continue;
            centers.push(person.joints[3 * j], person.joints[3 * j + 1], person.joints[3 * j + 2]);
            first.push(s[0] + 1e-4, s[1], s[2]); second.push(s[3] + 1e-4, s[4], s[5] + 1e-4);
            tints.push.apply(tints, seen[row * joints + j] ? [0.42, 0.78, 1, 0.95] : [1, 0.6, 0.2, 0.95]);
          }
        });
        if (centers.length) {
          gl.useProgram(balls.made); gl.bindVertexArray(ballVao);
          [centers, first, second, tints].forEach(function (values, i) { gl.bindBuffer(gl.ARRAY_BUFFER, instances[i]); gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(values), gl.DYNAMIC_DRAW); });
          gl.uniformMatrix4fv(balls.view, false, view); gl.uniform3fv(balls.at("eye"), now.eye);
          gl.drawElementsInstanced(gl.TRIANGLES, rim.length, gl.UNSIGNED_SHORT, 0, centers.length / 3);
        }
      }
      var bonesPen = new Pen(), within = new Pen(), dots = new Pen(), feet = new Pen();
      people.forEach(function (person, i) {
        if (!present[i] || !here(person, row)) return;
        for (var j = 1; shown.skeleton && j < joints; j++) {
          var q = meta.parents[j];
          bonesPen.line(person.joints.subarray(3 * q, 3 * q + 3), person.joints.subarray(3 * j, 3 * j + 3), [1, 1, 1, 0.9]);
        }
        evidence(person, within, dots);
        if (shown.contacts && person.get("touch")) {
          var foot = person.get("foot"), touch = person.get("touch"), held = person.get("held"), pelvis = person.get("pelvis");
          for (var f = 0; f < 4; f++) {
            var at = 4 * row + f, p = [0, 1, 2].map(function (c) { return pelvis[3 * row + c] + foot[3 * at + c] / 1e4; });
            feet.dot(p, held[at] ? [0.25, 0.95, 0.45, 1] : touch[at] > 127 ? [1, 0.75, 0.2, 1] : [0.7, 0.72, 0.75, 0.35]);
          }
        }
      });
      if (shown.bodies) people.forEach(function (person, i) {
        if (!present[i] || !here(person, row)) return;
        gl.useProgram(bodies.made); gl.bindVertexArray(person.vao);
        gl.uniformMatrix4fv(bodies.view, false, view); gl.uniform4fv(bodies.at("bone"), person.bones); gl.uniform3fv(bodies.at("eye"), now.eye);
        gl.uniform4f(bodies.at("tint"), person.tint[0], person.tint[1], person.tint[2], alpha);
        var type = faces instanceof Uint32Array ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT;
        if (alpha < 1) { gl.colorMask(false, false, false, false); gl.drawElements(gl.TRIANGLES, faces.length, type, 0); gl.colorMask(true, true, true, true); }
        gl.drawElements(gl.TRIANGLES, faces.length, type, 0);
      });
      if (through < 0) {
        var frusta = new Pen();
        cameras.forEach(function (camera, i) {
          // What is close before the eye would hide everything.
          var hung = add(add([0, 0, 0], camera.corners[0], 0.5), camera.corners[2], 0.5), off = sub(hung, now.eye);
          var fade = Math.min(0.96, (Math.sqrt(dot(off, off)) / look.distance - 0.25) / 0.25);
          if (shown.pictures && fade > 0) sheet(camera, fade);
          if (!shown.cameras) return;
          var tint = [0.62, 0.7, 0.85, 0.95];
          for (var k = 0; k < 4; k++) { frusta.line(camera.center, camera.corners[k], tint); frusta.line(camera.corners[k], camera.corners[(k + 1) % 4], tint); }
        });
        frusta.draw(gl.LINES, view);
      }
      gl.disable(gl.DEPTH_TEST);
      bonesPen.draw(gl.LINES, view);
      within.draw(gl.LINES, view);
      dots.draw(gl.POINTS, view, 5 * ratio);
      feet.draw(gl.POINTS, view, 11 * ratio);
      gl.bindVertexArray(null);
      name(view);
      said();
    }

    // Keypoints on the pictures, their rays, and what is left between ray and body.
    function evidence(person, pen, dots) {
      var points = person.get("points"), rays = person.get("rays"), uv = person.get("uv"), confidence = person.get("confidence"), pelvis = person.get("pelvis");
      if (!rays) return;
      var count = points.length / 3 / frames;
      cameras.forEach(function (camera, v) {
        if (through >= 0 && through !== v) return;
        for (var k = 0; k < count; k++) {
          var at = (row * cameras.length + v) * count + k, trust = confidence[at] / 255;
          if (!trust) continue;
          if (shown.points) {
            var x = uv[2 * at] / 16384, y = uv[2 * at + 1] / 16384, c = camera.corners;
            dots.dot(add(add(c[0], sub(c[1], c[0]), x), sub(c[3], c[0]), y), [1, 0.86, 0.2, 0.25 + 0.75 * trust]);
          }
          if (!shown.rays && !shown.residuals) continue;
          var d = unit([rays[3 * at], rays[3 * at + 1], rays[3 * at + 2]]), p = 3 * (row * count + k);
          var mark = [pelvis[3 * row] + points[p] / 1e4, pelvis[3 * row + 1] + points[p + 1] / 1e4, pelvis[3 * row + 2] + points[p + 2] / 1e4];
          var near = add(camera.center, d, dot(sub(mark, camera.center), d)), gap = sub(mark, near);
          if (shown.rays && through < 0) pen.line(camera.center, near, [person.tint[0], person.tint[1], person.tint[2], 0.06 + 0.22 * trust]);
          if (shown.residuals) { var tint = heat(Math.sqrt(dot(gap, gap)) / Math.max(dot(sub(mark, camera.center), camera.axes[2]), 0.1) * camera.matrix[0][0]); tint[3] = 0.3 + 0.7 * trust; pen.line(near, mark, tint); }
        }
      });
    }

    function name(view) {
      var width = canvas.clientWidth, height = canvas.clientHeight;
      function put(element, p, visible) {
        var w = view[3] * p[0] + view[7] * p[1] + view[11] * p[2] + view[15];
        var x = (view[0] * p[0] + view[4] * p[1] + view[8] * p[2] + view[12]) / w, y = (view[1] * p[0] + view[5] * p[1] + view[9] * p[2] + view[13]) / w;
        var out = !visible || w <= 0 || Math.abs(x) > 1 || Math.abs(y) > 1;
        element.style.display = out ? "none" : "block";
        if (!out) { element.style.left = (x + 1) / 2 * width + "px"; element.style.top = (1 - y) / 2 * height + "px"; }
      }
      cameras.forEach(function (camera) { put(camera.label, camera.center, shown.cameras && through < 0); });
      people.forEach(function (person, i) {
        var top = [0, 0, 0], high = -Infinity;
        for (var j = 0; j < joints; j++) { var p = person.joints.subarray(3 * j, 3 * j + 3), h = dot(p, up); if (h > high) { high = h; top = p; } }
        put(person.label, add(top, up, 0.28), people.length > 1 && present[i] && here(person, row));
      });
    }
    function said() {
      var words = people.filter(function (person, i) { return present[i]; }).map(function (person) { return (people.length > 1 ? person.mark + " " : "") + meta.statuses[person.get("status")[row]]; });
      told.textContent = "frame " + arrays.numbers[row] + " · " + (arrays.rows[row] / meta.fps).toFixed(2) + " s · " + words.join(", ");
      paintTime();
    }

    // Time, with everybody's status
    function paintTime() {
      var ratio = window.devicePixelRatio || 1, width = Math.max(Math.round(strip.clientWidth * ratio), 1), height = Math.max(Math.round(strip.clientHeight * ratio), 1), pen = strip.getContext("2d");
      strip.width = width; strip.height = height;
      var lane = (height - 6 * ratio) / people.length;
      people.forEach(function (person, i) {
        var status = person.get("status"), from = 0;
        for (var at = 1; at <= frames; at++) if (at === frames || status[at] !== status[from]) {
          pen.fillStyle = meta.statusColours[status[from]];
          pen.globalAlpha = present[i] ? 1 : 0.3;
          pen.fillRect(Math.floor(from / frames * width), 3 * ratio + i * lane, Math.ceil((at - from) / frames * width), Math.max(lane - ratio, 1));
          from = at;
        }
      });
      pen.globalAlpha = 1;
      pen.fillStyle = "#fff"; pen.strokeStyle = "#000";
      var x = (row + 0.5) / frames * width;
      pen.fillRect(x - 1.5 * ratio, 0, 3 * ratio, height); pen.strokeRect(x - 1.5 * ratio, 0, 3 * ratio, height);
    }
    function seek(to) { row = Math.max(0, Math.min(frames - 1, Math.round(to))); dirty = true; }
    function play(on) { playing = on; last = null; button.textContent = on ? "❚❚" : "▶"; button.setAttribute("aria-label", on ? "Pause" : "Play"); dirty = true; }
    var last = null, due = 0;
    function tick(time) {
      if (playing) {
        if (last !== null) {
          due += (time - last) / 1000 * speed * meta.fps / meta.every;
          if (due >= 1) { var steps = Math.floor(due); due -= steps; row = (row + steps) % frames; dirty = true; }
        }
        last = time;
      }
      if (dirty) draw();
      requestAnimationFrame(tick);
    }

    // Hands
    var held = null;
    canvas.addEventListener("pointerdown", function (event) { held = [event.clientX, event.clientY, event.button === 2 || event.shiftKey]; canvas.setPointerCapture(event.pointerId); canvas.focus(); });
    canvas.addEventListener("pointermove", function (event) {
      if (!held || through >= 0) return;
      var dx = event.clientX - held[0], dy = event.clientY - held[1];
      if (held[2]) {
        var back = unit(sub(eyeAt(), look.target)), right = unit(cross(up, back)), above = cross(back, right), k = 0.8 * look.distance / canvas.clientHeight;
        look.target = add(add(look.target, right, -dx * k), above, dy * k);
      } else { look.yaw -= dx / 180; look.pitch = Math.max(-1.5, Math.min(1.5, look.pitch + dy / 180)); }
      held[0] = event.clientX; held[1] = event.clientY; dirty = true;
    });
    ["pointerup", "pointercancel"].forEach(function (kind) { canvas.addEventListener(kind, function () { held = null; }); });
    canvas.addEventListener("contextmenu", function (event) { event.preventDefault(); });
    canvas.addEventListener("wheel", function (event) {
      // On a page that scrolls, the wheel is the page's until somebody has clicked into the view.
      if (!root.classList.contains("whole") && document.activeElement !== canvas) return;
      event.preventDefault();
      look.distance = Math.max(0.3, Math.min(80, look.distance * Math.exp(event.deltaY / 700))); dirty = true;
    }, { passive: false });
    function scrub(event) { var box = strip.getBoundingClientRect(); play(false); seek((event.clientX - box.left) / box.width * frames - 0.5); }
    strip.addEventListener("pointerdown", function (event) { strip.setPointerCapture(event.pointerId); scrub(event); });
    strip.addEventListener("pointermove", function (event) { if (event.buttons) scrub(event); });
    root.addEventListener("keydown", function (event) {
      if (event.target.tagName === "INPUT" || event.target.tagName === "SELECT") return;
      var step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -frames, End: frames }[event.key];
      if (step) { event.preventDefault(); play(false); seek(row + step); }
      if (event.key === " " && event.target !== button) { event.preventDefault(); play(!playing); }
    });
    button.addEventListener("click", function () { play(!playing); });
    root.querySelector(".speed").addEventListener("change", function (event) { speed = Number(event.target.value); });
    root.querySelector(".from").addEventListener("change", function (event) { through = Number(event.target.value); dirty = true; });
    root.querySelectorAll("input[data-show]").forEach(function (box) {
      shown[box.dataset.show] = box.checked;
      box.addEventListener("change", function () { shown[box.dataset.show] = box.checked; dirty = true; });
    });
    root.querySelectorAll("input[data-person]").forEach(function (box) { box.addEventListener("change", function () { present[Number(box.dataset.person)] = box.checked; dirty = true; }); });
    var box = root.querySelector("input[data-follow]");
    follow = box.checked;
    box.addEventListener("change", function () { follow = box.checked; dirty = true; });
    function rowOf(number) { var at = 0; for (var k = 0; k < frames; k++) if (arrays.numbers[k] <= number) at = k; return at; }
    document.querySelectorAll("[data-frame]").forEach(function (link) { link.addEventListener("click", function () { play(false); seek(rowOf(Number(link.dataset.frame))); root.scrollIntoView({ block: "center" }); }); });
    addEventListener("resize", function () { dirty = true; });
    function label(text, style) { var made = document.createElement("span"); made.textContent = text; made.style.cssText = style; labels.appendChild(made); return made; }
    cameras.forEach(function (camera) { camera.label = label(camera.name, ""); });
    people.forEach(function (person) { person.tint = person.colour.map(function (c) { return c / 255; }); person.label = label(person.mark, "background:rgb(" + person.colour + ");color:#000;font-weight:700"); });

    note.textContent = "";
    window.scene = {
      seek: function (to) { play(false); seek(to); draw(); }, play: play, row: function () { return row; }, frames: frames,
      joint: function (person, joint) { pose(people[person], row); return Array.from(people[person].joints.subarray(3 * joint, 3 * joint + 3)); },
      show: function (what, on) { shown[what] = on; draw(); }, look: look, redraw: draw,
    };
    root.dataset.ready = "yes";
    if (root.dataset.autoplay && !matchMedia("(prefers-reduced-motion: reduce)").matches) play(true);
    requestAnimationFrame(tick);
  }

  unpacked(document.getElementById("scene-block").textContent.trim()).then(function (block) {
    begin(JSON.parse(document.getElementById("scene-meta").textContent), block);
  }).catch(function (error) { note.textContent = "The view in space cannot be drawn: " + error.message; });
})();

// Sends a form with a file in the background, and shows how far it is.

{
  const form = document.querySelector("form[enctype]");
  const bar = form.querySelector("progress");

  const show = (request) => {
    document.documentElement.innerHTML = request.responseText;
    history.replaceState(null, "", request.responseURL);
    for (const old of document.querySelectorAll("script")) {
      const script = document.createElement("script"); // only a new one is run
      script.src = old.src;
      old.replaceWith(script);
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = new XMLHttpRequest();
    request.upload.onprogress = ({ loaded, total }) => {
      bar.hidden = false;
      bar.max = total;
      bar.value = loaded;
    };
    // The browser has followed the redirect: what has come is the next page, or a complaint.
    request.onload = () => show(request);
    request.onerror = () => form.submit();
    request.open("POST", form.action);
    request.send(new FormData(form));
  });
}

// Shows the server's events on the page as they arrive.

{
  const place = document.getElementById("events");
  const source = new EventSource(place.dataset.url);

  source.onmessage = (event) => {
    const { number, pid, time } = JSON.parse(event.data);
    place.textContent = `Event ${number} from process ${pid} at ${new Date(time).toLocaleTimeString()}`;
  };

  // Without this the browser would come back for more when the server is done.
  source.addEventListener("end", () => source.close());
}
